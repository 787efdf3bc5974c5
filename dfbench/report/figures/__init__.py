"""Figures of one detector: plain arrays to matplotlib figures, and those to files and a page."""
