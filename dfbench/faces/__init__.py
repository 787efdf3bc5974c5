"""Clips to face crops: decoding, detection, cropping, extraction. No JAX here."""
