"""What fresh runs show: comparisons with honest errors, and the race among finalists."""
