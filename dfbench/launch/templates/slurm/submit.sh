#!/bin/bash
# Hands the jobs to SLURM, each after the one before.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

prepare=$(sbatch --parsable prepare.sh)
prepare=${prepare%%;*} # without the cluster's name
train=$(sbatch --parsable --dependency="afterok:$prepare" --kill-on-invalid-dep=yes train.sh)
train=${train%%;*}
pages=$(sbatch --parsable --dependency="afterany:$train" leaderboard.sh)
pages=${pages%%;*}
echo "jobs: prepare $prepare, train $train, leaderboard $pages"
echo "watch: squeue --jobs $prepare,$train,$pages; logs: $PWD/logs"
