"""What one workspace knows and does: runs, edits, models, address."""
