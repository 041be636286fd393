"""What can be seen of a trace: one function a question, from a trace's activations to a record."""
