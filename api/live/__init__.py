"""What happens now: the event hub, waiting claims, metrics."""
