"""Our evolution with your evaluator: ask for a genome, tell its fitness.

    from brainformer.ask_tell import MemorySearch, ask_tell_spec

    search = MemorySearch(ask_tell_spec("nano", seed=1))
    trial = search.ask()
    search.tell(trial, fitness=evaluate(trial.genome))

These names are stable: one that goes is deprecated for a release first. See docs/ask-tell.md.
"""

from brainformer.search.ask_tell.contract import (
    AskedTrial,
    AskTell,
    Compromise,
    Standing,
    ask_tell_spec,
)
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.ask_tell.in_sql import SqlSearch, open_sql_search
from brainformer.search.export.seed_files import seeds_from_file

__all__ = [
    "AskTell",
    "AskedTrial",
    "Compromise",
    "MemorySearch",
    "SqlSearch",
    "Standing",
    "ask_tell_spec",
    "open_sql_search",
    "seeds_from_file",
]
