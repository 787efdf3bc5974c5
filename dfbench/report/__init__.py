"""Cards to pages: matrix, markdown, pictures. No JAX here."""
