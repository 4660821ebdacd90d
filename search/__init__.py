"""The science of the search and its memory: genomes, evolution, rewards, leases, the SQL store."""
