"""What a machine offers to trials, and whether it can run them."""
