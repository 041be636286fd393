"""The sidebar: what is run, by which model, on which prompt."""
