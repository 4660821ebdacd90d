"""Commands on genomes, spaces and the zoo: they need neither a controller nor a search."""
