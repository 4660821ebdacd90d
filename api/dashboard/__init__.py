"""The dashboard's files over HTTP."""
