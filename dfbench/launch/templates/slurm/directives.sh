{% if s.account %}
#SBATCH --account={{ s.account }}
{% endif %}
{% if partition %}
#SBATCH --partition={{ partition }}
{% endif %}
{% if s.cpus %}
#SBATCH --cpus-per-task={{ s.cpus }}
{% endif %}
{% if s.mem %}
#SBATCH --mem={{ s.mem }}
{% endif %}
