"""The budget's clock: calibration, step times, and what counts as training."""
