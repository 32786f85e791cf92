"""Many images, one after another or some at once."""
