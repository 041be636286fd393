"""The patching page: where the difference between two prompts is kept, and what each part alone is needed for."""
