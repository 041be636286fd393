"""The injection page."""
