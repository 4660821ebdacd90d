"""Processes that train: their environment, cores, start and end."""
