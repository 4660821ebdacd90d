"""The JAX/Flax model of a genome, and the probes that show it to be causal."""
