"""Jobs that run a model many times."""
