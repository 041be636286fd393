"""The inside of one layer (docs/methods.md §7)."""
