"""The page of saved runs."""
