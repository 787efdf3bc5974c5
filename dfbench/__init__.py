"""Cross-dataset deepfake-detection benchmark on JAX."""

__version__ = "0.1.0"
