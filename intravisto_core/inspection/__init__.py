"""What can be seen of any PyTorch module while it runs; nothing here knows a model family."""
