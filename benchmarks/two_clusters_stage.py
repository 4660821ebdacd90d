"""Ray clusters of several nodes on this machine, each node a tree of processes that can be killed.

Every node is a `ray start --block` with its own raylet, workers and trials, as on a machine of its
own; only the processor is shared. A slower cluster is one of older processors: its programs are
compiled for one without AVX.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.chaos_stage import free_port, wait_for

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
CLI = [sys.executable, "-P", "-m", "brainformer.api.cli.main"]
OBJECT_STORE_BYTES = 80 * 2**20
TRIAL = "brainformer.worker.process.trial_process"
# Without the first, Ray puts its workers 15 behind; the second is for logs that nobody reads.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_AUTH_MODE": "disabled",  # every cluster is on this machine alone
}

OLDER = {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"}


class Tree:
    """A process with whatever it has started."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **ENVIRONMENT, **environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def ended(self) -> int | None:
        """Its exit code, once it has one."""
        return self._process.poll()

    @property
    def words(self) -> str:
        """What it wrote."""
        return self._log.read_text("utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """Returns its processes that are alive."""
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def trials(self) -> int:
        """Returns how many trials' processes are among them."""
        return sum(TRIAL in _words(one) for one in self.family())

    def kill(self) -> None:
        """Kills all of it with SIGKILL at once, as a machine that loses its power."""
        family = self.family()
        for one in family:  # first none of them may see another go
            _send(one, signal.SIGSTOP)
        for one in {*family, *self.family()}:
            _send(one, signal.SIGKILL)
        self._process.wait()
        psutil.wait_procs(family, timeout=10)

    def stop(self, seconds: float = 40.0) -> int:
        """Ends it in order, as far as it goes along; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL


class RayCluster:
    """A head and further nodes of one core each, and the dispatcher of its pool.

    Args:
        pool: What its workers are called.
        url: Where they take the controller to be.
        folder: For logs and the dispatcher's state.
        older: Whether its processors are of an older kind.
    """

    def __init__(self, pool: str, url: str, folder: Path, *, older: bool = False) -> None:
        self.pool = pool
        self._url = url
        self._folder = folder / pool
        self._folder.mkdir()
        self._environment = OLDER if older else {}
        self._port = free_port()
        self.nodes: list[Tree] = []
        self.dispatcher: Tree | None = None

    def start(self, nodes: int) -> None:
        """Starts head, nodes and dispatcher; returns before they are up."""
        head = ["--head", f"--port={self._port}", f"--temp-dir={self._folder / 'ray'}"]
        self._start_node([*head, "--include-dashboard=false"])
        wait_for(f"the head of {self.pool}", self._head_is_up)
        for _ in range(nodes - 1):
            self.add_node()
        self.dispatcher = self._dispatcher("--ray-address", f"127.0.0.1:{self._port}")

    def add_node(self) -> None:
        """Starts one more node."""
        self._start_node([f"--address=127.0.0.1:{self._port}"])

    def trials(self) -> int:
        """Returns how many trials are in processes of its own at present."""
        return sum(node.trials() for node in self.nodes)

    def kill(self) -> None:
        """Kills dispatcher and nodes with SIGKILL."""
        if self.dispatcher is not None:
            self.dispatcher.kill()
        for node in self.nodes:
            node.kill()
        self.nodes.clear()

    def come_back(self) -> Tree:
        """Returns a dispatcher of the same pool and state on a Ray of its own, just started."""
        return self._dispatcher()

    def stop(self) -> None:
        """Ends the dispatcher in order, then the nodes."""
        if self.dispatcher is not None and self.dispatcher.ended is None:
            self.dispatcher.stop()
        for node in self.nodes:
            node.kill()
        self.nodes.clear()

    def _head_is_up(self) -> bool:
        if self.nodes[0].ended is not None:
            raise RuntimeError(f"the head of {self.pool} did not start: {self.nodes[0].words}")
        return "Ray runtime started" in self.nodes[0].words

    def _start_node(self, words: list[str]) -> None:
        command = [*RAY, "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1"]
        command += ["--disable-usage-stats", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Two clusters on one machine: nothing may stand at a port by default.
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [
            f"--{name}-port={free_port()}"
            for name in (
                *("dashboard-agent-listen", "dashboard-agent-grpc"),
                *("runtime-env-agent", "metrics-export"),
            )
        ]
        log = self._folder / f"node-{len(self.nodes)}-{free_port()}.log"
        self.nodes.append(Tree([*command, *words], log, self._environment))

    def _dispatcher(self, *words: str) -> Tree:
        command = [*CLI, "worker", "--pool", self.pool, "--url", self._url, "--slots", "2"]
        command += ["--state-folder", str(self._folder / "state"), *words]
        log = self._folder / f"dispatcher-{free_port()}.log"
        return Tree(command, log, self._environment)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
