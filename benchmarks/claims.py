"""How often a search claims "better" where nothing is better, and how often where something is.

Whole searches run through the real store (leases, hurdle, race, best) with simulated trials: every
genome has a true loss, every run adds the noise of a seed. Under the null all genomes equal the
baseline; for power one candidate in ten is better by `GAIN`. Claims are verdicts of `best`. Equal
blocks that the hurdle prunes are counted along the way. In one setting the machine gets faster all
the while, so that later runs have lower losses whatever their genome.

    python -m benchmarks.claims [--searches 2000] [--processes 2]
"""

from __future__ import annotations

import argparse
import multiprocessing
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from benchmarks.report import report
from brainformer.search.estimates.verdict import Verdict
from brainformer.search.spec import SearchSpec
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import TrialFilter
from brainformer.search.trials.lease_messages import ClaimRequest, Lease, Progress, Result
from brainformer.search.trials.trial import CurvePoint, Measurements, Outcome, TrialKind

NOISE, HURDLE_NOISE = 0.02, 0.03  # nats over seeds, as the nano proxy shows them
GAIN = 0.06
BETTER_SHARE = 0.1
TARGET, PRUNED_TARGET = 0.06, 0.03
ME = Actor(name="benchmark")
COMMON: dict[str, Any] = {
    "space": "nano",
    "proxy": "nano",
    "algorithm": "random",
    "screening": "none",
    "step_time_slack": None,
}
DEMO = files("brainformer.api.cli.demo") / "demo.yaml"
SETTINGS: dict[str, dict[str, Any]] = {
    "default, 40 candidates": {"limits": {"trials": 40}},
    "demo": yaml.safe_load(DEMO.read_text("utf-8")),
    "100 candidates": {"limits": {"trials": 100}},
    "40 candidates, a machine that gets faster": {"limits": {"trials": 40}},
}
# Nats by which a trial's loss is lower than the one's before it. A machine that became a quarter
# slower within 190 trials cost 0.0004 each (docs/experiments/record.md).
DRIFT = {"40 candidates, a machine that gets faster": 0.001}
CHUNK = 50  # searches of one store


@dataclass
class Tally:
    """What became of the simulated searches of one setting."""

    searches: int = 0
    claims: int = 0
    true_claims: int = 0
    judged: int = 0
    pruned: int = 0
    fresh_runs: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    for name in SETTINGS:
        null = simulated(name, options.searches, 0.0, options.processes)
        power = simulated(name, options.searches // 10, BETTER_SHARE, options.processes)
        rows[name] = {
            "claims_under_null": null.claims / null.searches,
            "equal_blocks_pruned": null.pruned / max(1, null.judged),
            "power": power.true_claims / power.searches,
            "false_claims_beside_better": (power.claims - power.true_claims) / power.searches,
            "fresh_runs": null.fresh_runs / null.searches,
        }
        told = ", ".join(f"{key} {value:.4g}" for key, value in rows[name].items())
        print(f"{name}: {told}", flush=True)
    worst = max(row["claims_under_null"] for row in rows.values())
    pruned = max(row["equal_blocks_pruned"] for row in rows.values())
    report(
        name="claims",
        value=worst,
        unit=f"share of {options.searches} searches that claim 95% where nothing is better, worst",
        target=f"at most {TARGET}; equal blocks pruned by the hurdle at most {PRUNED_TARGET:.0%}",
        ok=worst <= TARGET and pruned <= PRUNED_TARGET,
        details={"settings": rows, "noise": NOISE, "hurdle_noise": HURDLE_NOISE, "gain": GAIN},
    )


def simulated(setting: str, searches: int, better_share: float, processes: int) -> Tally:
    """Returns the tally of whole searches, each with seeds of its own."""
    chunks = [range(at, min(at + CHUNK, searches)) for at in range(0, searches, CHUNK)]
    whole = Tally()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for part in pool.imap_unordered(
            _chunk, [(setting, chunk, better_share) for chunk in chunks]
        ):
            for name, value in asdict(part).items():
                setattr(whole, name, getattr(whole, name) + value)
    return whole


def _chunk(task: tuple[str, range, float]) -> Tally:
    setting, chunk, better_share = task
    store, tally = open_store("sqlite://"), Tally()
    for index in chunk:
        rng = np.random.default_rng([2306, 8, index, round(100 * better_share)])
        drift = DRIFT.get(setting, 0.0)
        run_search(store, SETTINGS[setting], rng, tally, better_share=better_share, drift=drift)
    store.close()
    return tally


def run_search(
    store: SqlStore,
    changes: dict[str, Any],
    rng: np.random.Generator,
    tally: Tally,
    *,
    better_share: float,
    drift: float,
) -> None:
    """Runs one search to its end and adds to the tally."""
    spec = SearchSpec.model_validate({**changes, **COMMON, "name": "null"})
    search = store.create_search(spec, actor=ME)
    gains: dict[str, float] = {}
    while leases := store.claim(ClaimRequest(worker_id="w", pool="cpu", count=2)):
        for lease in leases:
            if lease.kind is TrialKind.CANDIDATE:
                better = rng.random() < better_share
                gains.setdefault(lease.genome.digest, GAIN if better else 0.0)
            gain = gains.get(lease.genome.digest, 0.0)
            run_trial(store, lease, gain, rng, tally, faster=drift * lease.trial_number)
    best = store.best(search.id)
    claim = best.verdict is Verdict.BETTER
    tally.searches += 1
    tally.claims += claim
    tally.true_claims += claim and gains[best.trial.digest] > 0
    kinds = TrialFilter(kinds=(TrialKind.CONFIRMATION,))
    tally.fresh_runs += len(store.list_trials(search.id, where=kinds, limit=1000).items)
    store.delete_search(search.id, actor=ME)


def run_trial(
    store: SqlStore,
    lease: Lease,
    gain: float,
    rng: np.random.Generator,
    tally: Tally,
    *,
    faster: float,
) -> None:
    """Runs one trial: a point at a quarter of the budget, which the hurdle judges, and the end."""
    early = CurvePoint(
        fraction=0.25,
        step=100,
        training_seconds=1.0,
        validation_loss=3.0 - gain - faster + rng.normal(0, HURDLE_NOISE),
    )
    directive = store.progress(lease.lease_id, Progress(point=early, step_time_ms=10.0))
    if lease.kind is TrialKind.CANDIDATE and not gain:
        tally.judged += 1
        tally.pruned += directive.action == "stop"
    if directive.action == "stop":
        pruned = Result(outcome=Outcome.PRUNED, message=directive.reason)
        store.result(lease.lease_id, pruned)
        return
    measured = Measurements(
        validation_loss=2.0 - gain - faster + rng.normal(0, NOISE),
        step_time_ms=10.0,
        curve=(early,),
    )
    store.result(lease.lease_id, Result(outcome=Outcome.COMPLETED, measurements=measured))


if __name__ == "__main__":
    main()
