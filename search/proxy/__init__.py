"""The proxy that all trials of a search share, and the built-in ones."""
