#!/bin/bash
# Data of all trainings, before the first one.
{% include "machine/begin.sh" %}
export JAX_PLATFORMS=cpu

{% for command in work.prepare %}
{{ command }}
{% endfor %}
