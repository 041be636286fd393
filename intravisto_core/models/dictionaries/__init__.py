"""Features from dictionaries: sparse autoencoders and transcoders that were trained on a model elsewhere."""
