"""What pictures of a search are drawn from: its trials as columns, thinned for the eye."""
