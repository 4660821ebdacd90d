"""What all trials of a search share beside the genome, and the built-in choices."""
