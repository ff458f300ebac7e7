"""The demonstration: every command of the stack in order, on a generated corpus."""
