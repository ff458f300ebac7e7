"""What an experiment needs on so many devices, from shapes alone (docs/planning.md)."""
