"""What a genome costs under a proxy: parameters, FLOPs, memory, meshes."""
