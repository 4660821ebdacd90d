"""What every request passes: identity, limits, strict bodies, idempotency, admission."""
