"""Scores, metrics and intervals. No JAX except in predict."""
