"""`brainformer demo`: controller, local Ray and worker on this machine, start to export."""
