"""Where the command line looks for a controller unless it is told."""

DEFAULT_URL = "http://127.0.0.1:8700"
