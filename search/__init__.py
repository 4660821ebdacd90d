"""The science of a search and its store: genomes, evolution, rewards, leases, SQL."""
