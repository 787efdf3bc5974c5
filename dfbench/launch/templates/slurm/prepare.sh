#!/bin/bash
# Data of all trainings, before the first one.
#SBATCH --job-name={{ work.name ~ "-prepare" }}
#SBATCH --output=logs/prepare-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
{% if s.prepare_time %}
#SBATCH --time={{ s.prepare_time }}
{% endif %}
{% include "slurm/directives.sh" %}
{% include "slurm/begin.sh" %}
export JAX_PLATFORMS=cpu

{% for command in work.prepare %}
{{ command }}
{% endfor %}
