"""One module per REST resource; each exposes a `router`."""
