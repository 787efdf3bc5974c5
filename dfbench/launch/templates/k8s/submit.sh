#!/bin/bash
# Hands the jobs to Kubernetes, as kubectl is set up here.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

{% if s.namespace %}
space=(--namespace={{ s.namespace }})
{% else %}
space=()
{% endif %}
{% if work.protocol_file %}
kubectl apply -f protocol.yaml
{% endif %}
{% if s.plain %}
kubectl apply -f prepare.yaml
echo 'waiting for the data'
until kubectl wait "${space[@]}" --for=condition=complete --timeout={{ poll ~ "s" }} {{ prepare }}; do
  if kubectl wait "${space[@]}" --for=condition=failed --timeout=1s {{ prepare }}; then
    kubectl logs "${space[@]}" {{ prepare }} >&2
    exit 1
  fi
done
kubectl apply -f train.yaml
{% if pages %}
echo 'at the end: kubectl apply -f leaderboard.yaml'
{% endif %}
{% else %}
kubectl apply -f jobset.yaml
{% endif %}
echo watch: kubectl get pods "${space[@]}" --selector={{ "dfbench/job=" ~ work.name }} --watch
