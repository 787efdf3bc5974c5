#!/bin/bash
# Rents a TPU, trains on all its hosts, gives it back. Run it again to go on: data
# and results lie in object storage.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

name={{ work.name }}
where=({{ where }})

state() {
  gcloud compute tpus queued-resources describe "$name" "${where[@]}" \
    --format='value(state.state)' 2>/dev/null || echo NONE
}

give_back() {
  [[ $(state) == NONE ]] ||
    gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet
}

rent() {
  local now
  now=$(state)
  if [[ $now == NONE ]]; then
    gcloud compute tpus queued-resources create "$name" "${where[@]}" --node-id="$name" {{ machine }}
  fi
  until [[ $now == ACTIVE ]]; do
    sleep {{ poll }}
    now=$(state)
    echo "$(date +%T) $name: $now"
    case $now in FAILED | SUSPEND* | NONE) return 1 ;; esac
  done
}

on() { # WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker="$1" --command="$2"
}

job() { # the processes of the hosts find each other and make each training together
  gcloud compute tpus tpu-vm scp --recurse --compress . "$name":dfbench-job "${where[@]}" \
    --worker=all &&
    on all 'bash dfbench-job/setup.sh' &&
    on 0 'bash dfbench-job/prepare.sh' &&
    on all 'bash dfbench-job/train.sh'
}

trap give_back EXIT
for attempt in {1..{{ attempts }}}; do
  rent || { give_back; continue; }
  status=0
  job || status=$?
  # Of a TPU that is still there the log above says what is wrong; another one was taken away.
  if [[ $status == 0 || $(state) == ACTIVE ]]; then
    exit "$status"
  fi
  echo "$name was taken away, attempt $attempt of {{ attempts }}" >&2
  give_back
done
exit 1
