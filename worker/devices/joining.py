"""Joining: the processes of one trial or run, one on each host, come together in jax.distributed.

Nothing here imports jax before it is called: a process sets its environment first.
"""

from __future__ import annotations

from dataclasses import dataclass

from brainformer.search.errors import EnvironmentProblem

JOIN_SECONDS = 120  # until every host has come


@dataclass(frozen=True)
class Membership:
    """A process's place among those of its trial.

    Attributes:
        coordinator: HOST:PORT of the first host.
        hosts: How many there are.
        host: The number of this one, from 0.
    """

    coordinator: str
    hosts: int
    host: int


def join(coordinator: str | None, hosts: int | None, host: int | None, *, remedy: str) -> int:
    """Joins the other hosts and returns this one's number; call it before jax's first use.

    SIGTERM stays with the process: jax's service for preemptions would take it away.

    Args:
        coordinator: HOST:PORT of the first host; None where the cluster tells.
        hosts: How many there are; None where the cluster tells.
        host: The number of this one, likewise.
        remedy: What a user may do about hosts that do not come.

    Raises:
        EnvironmentProblem: the others cannot be reached.
    """
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    jax.config.update("jax_enable_preemption_service", False)  # type: ignore[no-untyped-call]
    try:
        jax.distributed.initialize(
            coordinator_address=coordinator,
            num_processes=hosts,
            process_id=host,
            initialization_timeout=JOIN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        why = str(error).partition("\n")[0]
        where = "" if coordinator is None else f" at {coordinator}"
        raise EnvironmentProblem(
            f"the hosts have not come together{where}: {why}", remedy
        ) from None
    return int(jax.process_index())
