"""Data sets on a worker's machine: prepared, opened, offered with every claim."""
