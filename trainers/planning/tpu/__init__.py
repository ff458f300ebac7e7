"""What the TPU compiler says of an experiment's steps, without a TPU (docs/tpu.md)."""
