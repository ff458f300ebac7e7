"""A step as the TPU compiler takes it."""
