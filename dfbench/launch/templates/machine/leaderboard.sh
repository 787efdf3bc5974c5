#!/bin/bash
# Pages of what is there.
{% include "machine/begin.sh" %}
export JAX_PLATFORMS=cpu

{{ work.leaderboard }}
