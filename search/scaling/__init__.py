"""Scaling a block that was found small to the size that its user wants."""
