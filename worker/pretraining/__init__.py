"""Plain training of one model for as long as its user likes: plan, checkpoints, progress."""
