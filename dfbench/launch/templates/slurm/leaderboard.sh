#!/bin/bash
# Pages of what is there when all trainings have ended.
#SBATCH --job-name={{ work.name ~ "-leaderboard" }}
#SBATCH --output=logs/leaderboard-%j.log
{% include "slurm/directives.sh" %}
{% include "slurm/begin.sh" %}

{{ work.leaderboard }}
