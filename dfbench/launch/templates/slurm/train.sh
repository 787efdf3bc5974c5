#!/bin/bash
# {{ work.trainings }} trainings, each with all its cells, by {{ work.parts }} tasks of an array.
#SBATCH --job-name={{ work.name }}
#SBATCH --array={{ array }}
#SBATCH --output=logs/train-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
{% if s.time %}
#SBATCH --time={{ s.time }}
{% endif %}
{% if s.nodes > 1 %}
#SBATCH --nodes={{ s.nodes }}
#SBATCH --ntasks-per-node={{ s.gpus or 1 }}
{% endif %}
{% if s.gpus %}
#SBATCH --gpus-per-node={{ s.gpus }}
{% endif %}
{% include "slurm/directives.sh" %}
{% for directive in s.extra %}
#SBATCH {{ directive }}
{% endfor %}
{% include "slurm/begin.sh" %}

# Two minutes before the time limit the work is asked to end. It saves its training, as it does where
# SLURM asks it by itself, and says so by its status.
limit=
work=
{% if s.nodes > 1 %}
trap 'limit=yes; scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1 # the step, on all nodes
# The processes of the step find each other and make each training together.
srun --kill-on-bad-exit=1{% if s.cpus %} --cpus-per-task={{ s.cpus }}{% endif %} \
  {{ work.matrix }} --part "$SLURM_ARRAY_TASK_ID"/{{ work.parts }} &
{% else %}
trap 'limit=yes; kill -TERM "$work" || true' USR1
{{ work.matrix }} --part "$SLURM_ARRAY_TASK_ID"/{{ work.parts }} &
{% endif %}
work=$!
status=0
wait "$work" || status=$?
if [[ $limit ]]; then # by which the first wait ended
  status=0
  wait "$work" || status=$?
fi

# Back into the queue, {{ again }} times at most: there the training goes on.
if [[ $status == {{ stopped }} || ($limit && $status != [023]) ]]; then
  if (( ${SLURM_RESTART_COUNT:-0} < {{ again }} )); then
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60 # until SLURM ends this script
  fi
  echo "this task is not put back any more; submit it again to go on" >&2
  exit 1
fi
exit "$status"
