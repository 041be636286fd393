"""The explain page: where a token comes from, on one card."""
