"""What a user asks for: passes over an image with a model."""
