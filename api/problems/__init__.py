"""Errors over HTTP: problem+json (RFC 9457)."""
