"""A controller, driven from Python: create a search, wait, look into its trials, export.

    from brainformer.client import Client

    with Client("http://127.0.0.1:8700") as client:
        search = client.create({"name": "first", "space": "nano", "limits": {"trials": 20}})
        search.wait()
        print(search.best().trial.fitness)
        search.export("block.json")

These names are stable: one that goes is deprecated for a release first. See docs/client.md.
"""

from brainformer.api.client.client import Client
from brainformer.api.client.search import Search
from brainformer.search.export.genome_file import GenomeExport
from brainformer.search.store.records import (
    BestRecord,
    PoolRecord,
    SearchRecord,
    TrialRecord,
    WorkerRecord,
)

__all__ = [
    "BestRecord",
    "Client",
    "GenomeExport",
    "PoolRecord",
    "Search",
    "SearchRecord",
    "TrialRecord",
    "WorkerRecord",
]
