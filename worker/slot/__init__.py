"""A slot's conversation with the controller: claims, heartbeats, results."""
