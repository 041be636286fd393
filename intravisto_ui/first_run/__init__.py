"""The first picture: the demo model's usual run from a file, while the libraries load behind it."""
