"""Records to checkpoint."""
