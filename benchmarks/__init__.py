"""Ratios of this stack's parts to named alternatives, both measured in the same run."""
