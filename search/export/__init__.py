"""What leaves a search: genome files, JAX source; and seeds that enter one."""
