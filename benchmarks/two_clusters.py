"""Two Ray clusters of two nodes each, pools of different speed, one search; SIGKILL hits both.

A real controller on PostgreSQL, real dispatchers, nano trials that really train. First one node of
the fast cluster is killed in a trial and another one joins; then the slow cluster is killed as a
whole, dispatcher and all, and its pool is retired. The search must end on what is left, and the
database must hold what its clients were promised: a proxy between dispatchers and controller keeps
every receipt, and only what it saw is taken for true.

    python -m benchmarks.two_clusters [--trials 12] [--budget 3] [--try]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.chaos_stage import Controller, Proxy, wait_for
from benchmarks.report import report
from benchmarks.two_clusters_stage import RayCluster, Tree
from brainformer.search.sql.store import SqlStore, open_store
from brainformer.search.status import SearchStatus
from brainformer.search.trials.trial import TrialStatus
from tests.postgres import postgres_server
from tests.search.store.audit import all_trials, check_everything
from tests.worker.stack import search_spec

LONG = 30_000  # looks, of 20 ms each: ten minutes
RETIRED_EXIT = 5


class Site:
    """Controller, proxy and the two clusters."""

    def __init__(self, database: str, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.controller = Controller(database, folder)
        self.controller.start()
        self.proxy = Proxy(self.controller)
        self.fast = RayCluster("fast", self.proxy.url, folder)
        self.slow = RayCluster("slow", self.proxy.url, folder, older=True)
        self.began = time.monotonic()
        self.timeline: list[str] = []
        self.search_id = ""

    def run(self) -> dict[str, Any]:
        """Returns what the retirement said, after everything has happened and the search ended."""
        self.search_id = self.post("/searches", self.spec())["id"]
        self.note("search created")
        for cluster in (self.fast, self.slow):
            cluster.start(2)
        wait_for("candidates of both pools", lambda: len(self.finished_pools()) == 2, LONG)
        self.note("both pools have finished candidates")
        self.lose_a_node()
        retirement = self.lose_a_cluster()
        wait_for("the end of the search", lambda: self.search()["status"] != "running", LONG)
        self.note(f"the search is {self.search()['status']}: {self.search()['reason']}")
        self.tell_the_returned()
        self.fast.stop()
        return retirement

    def lose_a_node(self) -> None:
        """Kills the fast cluster's second node in a trial; a new one takes its place."""
        node = self.fast.nodes[1]
        wait_for("a trial on the node", lambda: node.trials() > 0, LONG)
        node.kill()
        self.fast.nodes.remove(node)
        self.note("a node of the fast cluster killed in a trial")
        self.wait_for_results("fast", 1)
        self.fast.add_node()
        wait_for("a trial on the new node", lambda: self.fast.nodes[-1].trials() > 0, LONG)
        self.note("a new node trains")

    def lose_a_cluster(self) -> dict[str, Any]:
        """Kills the slow cluster while it trains and retires its pool."""
        wait_for("a trial on the slow cluster", lambda: self.slow.trials() > 0, LONG)
        self.slow.kill()
        self.note("the slow cluster killed as a whole")
        retirement = self.post("/pools/slow/retire", None)
        self.note("its pool retired")
        return retirement

    def tell_the_returned(self) -> None:
        """Starts a dispatcher of the retired pool again, which must end with one sentence."""
        back = self.slow.come_back()
        wait_for("the end of the dispatcher that came back", lambda: back.ended is not None, LONG)
        self.note(f"a dispatcher that came back ended with {back.ended}")
        self.came_back: Tree = back

    def close(self) -> None:
        """Ends whatever is left."""
        for cluster in (self.fast, self.slow):
            cluster.kill()
        self.controller.stop()
        self.proxy.close()

    def spec(self) -> dict[str, Any]:
        """Returns the search: trials run to their end, the best are confirmed."""
        given = self.options
        made = search_spec("two-clusters", trials=given.trials, budget_seconds=given.budget)
        # By the wall clock: the calibrated one would give both pools the same number of steps.
        made["proxy"] |= {"clock": "wall"}
        more = {"confirmations": 2, "confirmation_repeats": 2}
        return made | more | {"lease_seconds": 10, "max_attempts": 10}

    def search(self) -> dict[str, Any]:
        """Returns the search's record."""
        return self.get(f"/searches/{self.search_id}")

    def finished_pools(self) -> set[str]:
        """Returns the pools on which a candidate has completed."""
        query = f"/searches/{self.search_id}/trials?kind=candidate&status=completed&limit=500"
        return {one["pool"] for one in self.get(query)["items"]}

    def wait_for_results(self, pool: str, count: int) -> None:
        """Waits until the pool has completed so many trials more."""

        def completed() -> int:
            query = f"/searches/{self.search_id}/trials?pool={pool}&status=completed&limit=500"
            return len(self.get(query)["items"])

        before = completed()
        wait_for(f"{count} results of {pool}", lambda: completed() >= before + count, LONG)

    def get(self, path: str) -> dict[str, Any]:
        """Returns the controller's answer to a question."""
        answer = httpx2.get(f"{self.controller.url}/api/v1{path}", timeout=60, trust_env=False)
        return dict(answer.raise_for_status().json())

    def post(self, path: str, body: object) -> dict[str, Any]:
        """Returns the controller's answer to an order."""
        url = f"{self.controller.url}/api/v1{path}"
        answer = httpx2.post(url, json=body, timeout=60, trust_env=False)
        return dict(answer.raise_for_status().json())

    def note(self, what: str) -> None:
        """Prints and keeps what happened when."""
        self.timeline.append(f"{time.monotonic() - self.began:.0f} s: {what}")
        print(self.timeline[-1], flush=True)


def violations(store: SqlStore, site: Site) -> list[str]:
    """Returns in words whatever the database holds otherwise than clients were promised."""
    found = list(site.proxy.contradictions)
    try:
        check_everything(store, site.search_id)
    except AssertionError as error:
        found.append(str(error).splitlines()[0])
    known = {one.id: one for one in all_trials(store, site.search_id)}
    ended: Counter[int] = Counter()
    for lease_id, promised in site.proxy.receipts.items():
        trial = known.get(promised["trial_id"])
        if promised["status"] == TrialStatus.QUEUED.value:
            continue
        ended[promised["trial_id"]] += 1
        if trial is None or trial.status.value != promised["status"]:
            found.append(f"lost: {lease_id} was receipted as {promised['status']}")
        elif trial.fitness != promised["fitness"]:
            found.append(f"changed: {lease_id} had fitness {promised['fitness']}")
    found += [f"trial {key} ended {count} times" for key, count in ended.items() if count > 1]
    if store.get_search(site.search_id).status is not SearchStatus.COMPLETED:
        found.append(f"the search is {store.get_search(site.search_id).status}")
    if site.came_back.ended != RETIRED_EXIT or "was retired" not in site.came_back.words:
        found.append(f"a worker of the retired pool ended with {site.came_back.ended}")
    return found


def speeds(store: SqlStore, search_id: str) -> dict[str, float]:
    """Returns the baseline's step time on each pool, in milliseconds."""
    return {
        one.pool: round(one.step_time_ms, 2)
        for one in store.baselines(search_id)
        if one.step_time_ms is not None
    }


def main() -> None:
    """Runs it once and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--budget", type=float, default=3.0, help="seconds that a trial trains")
    parser.add_argument("--try", dest="trying", action="store_true", help="keep no result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tc-") as folder, postgres_server() as server:
        database = server.create_with_schema()
        site = Site(database, Path(folder), options)
        try:
            retirement = site.run()
        finally:
            site.close()
        store = open_store(database)
        wrong = violations(store, site)
        trials = all_trials(store, site.search_id)
        steps = speeds(store, site.search_id)
        store.close()
    statuses = Counter(f"{one.kind.value}s {one.status.value}" for one in trials)
    print(*(f"{count:4} {name}" for name, count in sorted(statuses.items())), sep="\n")
    report(
        name="two-clusters",
        value=len(wrong),
        unit="violations of what clients were promised",
        target="0: a node killed in a trial, then a whole cluster; the search ends",
        ok=not wrong,
        details={
            "violations": wrong,
            "timeline": site.timeline,
            "step_time_ms": steps,
            "trials": dict(sorted(statuses.items())),
            "receipts": len(site.proxy.receipts),
            "attempts": sum(one.attempt for one in trials),
            "retirement": retirement["searches"],
        },
        keep=not options.trying,
    )


if __name__ == "__main__":
    main()
