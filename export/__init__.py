"""Checkpoint to served model."""
