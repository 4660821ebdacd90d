"""What leaves a search: genome files, JAX source, promotions; and seeds that enter one."""
