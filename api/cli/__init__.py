"""The `brainformer` command line; one module per command group."""
