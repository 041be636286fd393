"""The architecture page: what the model is made of, and what runs after what."""
