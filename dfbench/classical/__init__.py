"""Classical models: hand-made features of face crops and scikit-learn's classifiers. No JAX."""
