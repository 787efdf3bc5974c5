"""Procedural faces and forgeries for the embedded datasets."""
