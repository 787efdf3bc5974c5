"""Training: state, per-device step, loop, checkpoints."""
