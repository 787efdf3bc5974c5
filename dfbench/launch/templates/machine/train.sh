#!/bin/bash
# {{ work.trainings }} trainings with all their cells, or by `train.sh --part K/N` some of them. What is
# there already is used again, and a training that was cut off goes on.
{% include "machine/begin.sh" %}

exec {{ work.matrix }} "$@"
