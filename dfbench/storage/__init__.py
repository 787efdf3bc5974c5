"""Places in object storage, and their copies on this machine."""
