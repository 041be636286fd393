"""The page that shows the inside of one layer."""
