"""Studies: variants of an experiment, each over several seeds, in one table and pictures."""
