"""Discovers better transformer blocks by regularized evolution under a fixed training budget."""
