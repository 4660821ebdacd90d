"""What can be searched: genomes, the spaces they are drawn from, the zoo, differences."""
