"""A Gaussian process that chooses among mutated children."""
