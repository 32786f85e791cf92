"""Images in, tiles out, and back: knows no mixtures."""
