#!/bin/bash
# Prepares the data, which ends before the trainings begin; then hands each part over as a job.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

sky jobs launch --yes --name {{ work.name ~ "-prepare" }} prepare.yaml
for part in {1..{{ work.parts }}}; do
  sky jobs launch --yes --detach-run --name {{ work.name }}-"$part" --env PART="$part" train.yaml
done
echo 'watch: sky jobs queue; logs: sky jobs logs JOB'
