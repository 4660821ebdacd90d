"""A Ray cluster of several nodes on this machine: each node is a host, as far as Ray can tell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

STORE_BYTES = 80 * 2**20


@contextmanager
def ray_nodes(nodes: Sequence[dict[str, Any]]) -> Iterator[Cluster]:
    """Yields a cluster: a head without resources, and nodes of one core with what is named."""
    os.environ.setdefault("RAY_worker_niceness", "0")  # as under a worker that starts Ray itself
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES}
    )
    try:
        for node in nodes:
            cluster.add_node(**({"num_cpus": 1, "object_store_memory": STORE_BYTES} | node))
        yield cluster
    finally:
        cluster.shutdown()


def ranks(folder: Path) -> dict[int, psutil.Process]:
    """Returns the training processes of the worker whose state lies in `folder`, by host."""
    found = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "--host" in words and any(word.startswith(str(folder)) for word in words):
            found[int(words[words.index("--host") + 1])] = process
    return found
