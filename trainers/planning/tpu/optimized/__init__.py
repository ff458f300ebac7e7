"""The program that the TPU compiler made of a step."""
