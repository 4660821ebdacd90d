"""Driving a controller from Python: what `brainformer.client` offers."""
