"""A Ray cluster of several nodes on this machine: each node is a host, as far as Ray can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster

SMALL: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextmanager
def ray_nodes(nodes: Sequence[dict[str, Any]]) -> Iterator[Cluster]:
    """Yields a cluster of a head without resources and nodes that have what is named."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20},
    )
    try:
        for node in nodes:
            cluster.add_node(**(SMALL | node))
        yield cluster
    finally:
        cluster.shutdown()
