"""Models on the Hugging Face Hub: found, downloaded, and what stands in the way in words."""
