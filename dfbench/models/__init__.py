"""Flax NNX detectors and their registry."""
