"""One copy of a model over several devices, its weights split among them (docs/tpu.md)."""
