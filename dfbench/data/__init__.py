"""Prepared crops to batches: TFDS builders, ArrayRecord, Grain. No JAX here."""
