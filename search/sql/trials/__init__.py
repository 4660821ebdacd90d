"""What changes trials: claims, heartbeats, results, expiry, completion."""
