"""What a genome costs under a proxy: parameters, FLOPs, memory; and how it is scaled."""
