"""GGUF files: header, settings, tokenizer and weights, read without trusting any of them."""
