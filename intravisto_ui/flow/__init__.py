"""The flow page."""
