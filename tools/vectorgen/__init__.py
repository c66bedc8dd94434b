"""Makes the shared vectors from the Python implementation; other languages confirm them."""
