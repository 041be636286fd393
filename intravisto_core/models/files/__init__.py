"""What the folder of a checkpoint holds, read and checked before a model is built from it."""
