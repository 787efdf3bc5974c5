"""Pretrained weights: reading files of Keras and PyTorch, fitting them to our models."""
