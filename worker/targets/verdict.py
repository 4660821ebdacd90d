"""What a compiled step means for a target: whether it fits, and the least time it can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brainformer.search.cost.cost import flops_per_token, memory_bytes
from brainformer.worker.targets.account import Account
from brainformer.worker.targets.ahead_of_time import CompileRequest, compile_ahead_of_time
from brainformer.worker.targets.bound import Bound, step_bound
from brainformer.worker.targets.hardware import parse_target

GIB = 2**30


@dataclass(frozen=True)
class Verdict:
    """A training step on a target: compiled, not run.

    Attributes:
        request: What was compiled.
        account: The compiler's, for one device.
        device_memory_bytes: What a device has; None where it is not known.
        estimate_bytes: What the step wants of a device by search/cost/cost.py.
        useful_flops: Of one device in a step, by search/cost/cost.py.
        bound: The least time of a step; None where the peak rates are not known.
    """

    request: CompileRequest
    account: Account
    device_memory_bytes: int | None
    estimate_bytes: int
    useful_flops: float
    bound: Bound | None

    @property
    def fits(self) -> bool:
        """Whether the step fits in a device's memory."""
        limit = self.account.limit_bytes or self.device_memory_bytes
        return limit is None or self.account.memory_bytes <= limit

    @property
    def expected_bytes(self) -> int:
        """What the compiled step takes of a device: all that it wants, or else the whole device.

        A TPU's compiler computes again what does not fit until the step does, and no more than
        that; or gives up.
        """
        return min(self.estimate_bytes, self.device_memory_bytes or self.estimate_bytes)

    def plain(self) -> dict[str, Any]:
        """Returns the figures as plain data."""
        account, limit = self.account, self.account.limit_bytes or self.device_memory_bytes
        return {
            "target": self.request.target,
            "mesh": self.request.mesh.model_dump(),
            "remat": self.request.remat,
            "fits": self.fits,
            "memory_gib": round(account.memory_bytes / GIB, 3),
            "device_memory_gib": None if limit is None else round(limit / GIB, 3),
            "temporaries_gib": round(account.temporary_bytes / GIB, 3),
            "estimate_gib": round(self.estimate_bytes / GIB, 3),
            "expected_gib": round(self.expected_bytes / GIB, 3),
            "estimate_off": round(self.expected_bytes / account.memory_bytes - 1, 3),
            "teraflops": round(account.flops / 1e12, 4),
            "useful_teraflops": round(self.useful_flops / 1e12, 4),
            "hbm_gigabytes": round(account.hbm_bytes / 1e9, 3),
            "collectives": {
                kind: {"count": one.count, "megabytes": round(one.megabytes, 3)}
                for kind, one in sorted(account.collectives.items())
            },
            "bound_ms": None if self.bound is None else round(1e3 * self.bound.seconds, 3),
            "bound_by": None if self.bound is None else self.bound.by,
            "compile_seconds": round(account.compile_seconds, 1),
        }


def judge(request: CompileRequest, account: Account) -> Verdict:
    """Returns what the account of a request's step means for its target."""
    target, proxy, mesh = parse_target(request.target), request.proxy, request.mesh
    tokens = proxy.batch_size * proxy.sequence_length
    useful = flops_per_token(request.genome, proxy) * tokens / mesh.devices
    refused = account.limit_bytes is not None
    return Verdict(
        request=request,
        account=account,
        device_memory_bytes=target.chip.memory_bytes if target.chip else None,
        estimate_bytes=memory_bytes(
            request.genome, proxy, platform=target.platform, mesh=mesh, remat=request.remat
        ),
        useful_flops=useful,
        bound=step_bound(target.chip, account, useful) if target.chip and not refused else None,
    )


def compile_and_judge(
    request: CompileRequest,
    *,
    remat: bool | None = None,
    compiler: Callable[[CompileRequest], Account] = compile_ahead_of_time,
) -> list[Verdict]:
    """Returns the verdicts, the last of which counts: a trial does what does not fit with remat.

    Args:
        request: What to compile; its `remat` is not looked at.
        remat: Whether blocks are computed again; None for only where the step does not fit.
        compiler: Compiles a request.
    """
    found: list[Verdict] = []
    for again in (False, True) if remat is None else (remat,):
        one = request.model_copy(update={"remat": again})
        found.append(judge(one, compiler(one)))
        if found[-1].fits:
            break
    return found
