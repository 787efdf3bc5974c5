"""Face detectors, one a file: `load` returns the function that finds faces."""
