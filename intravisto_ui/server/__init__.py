"""What stands before every page: the headers of its answers, and the paths that are closed."""
