"""What can be searched: genomes, spaces as data, the zoo.

These names are stable: one that goes is deprecated for a release first.
"""

from brainformer.search.space.genome import Attention, FeedForward, Genome, MoE, parse_genome
from brainformer.search.space.schema import genome_schema
from brainformer.search.space.space import Space, load_preset, parse_space, preset_names
from brainformer.search.space.zoo import zoo_genome, zoo_names

__all__ = [
    "Attention",
    "FeedForward",
    "Genome",
    "MoE",
    "Space",
    "genome_schema",
    "load_preset",
    "parse_genome",
    "parse_space",
    "preset_names",
    "zoo_genome",
    "zoo_names",
]
