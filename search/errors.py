"""The one tree of errors that this project raises.

BrainformerError
├── InvalidInput                 the caller's input breaks a rule
│   ├── InvalidGenome
│   ├── InvalidSpace
│   ├── InvalidSpec
│   ├── InvalidMeasurement
│   ├── InvalidMesh
│   ├── InvalidData
│   ├── InvalidExport
│   └── InvalidCheckpoint
├── NotFound                     a search, trial, data set, preset ... that does not exist
├── Conflict                     the request contradicts the current state
│   ├── IllegalTransition
│   ├── StaleVersion
│   ├── LeaseLost
│   ├── TooManySearches
│   ├── IdempotencyMismatch
│   ├── IdempotencyInFlight
│   ├── DataMismatch
│   ├── VersionSkew
│   └── PoolRetired              a worker of a pool that was retired asks for work
├── SpaceExhausted               every genome within reach has been tried
├── TrainingDiverged             a loss is no longer finite
├── StorageError                 the database cannot serve requests (search/storage_errors.py)
│   ├── StorageUnavailable
│   │   ├── StorageBusy          lost a race for a lock: the same again may well succeed
│   │   │   └── StorageHeld      somebody holds it for longer than we wait
│   │   ├── StorageFull
│   │   ├── StorageReadOnly
│   │   ├── StorageUnreachable
│   │   ├── StorageReplaced      the file was deleted, moved or replaced under a controller
│   │   └── StorageDamaged
│   ├── SchemaMismatch
│   └── StoreLocked
├── EnvironmentProblem           something this machine should offer is missing
│   └── ImplausibleClock
├── ControllerUnreachable        a worker or the command line cannot reach the controller
└── NotAuthorised                the controller refuses the token, or asks for one

Constructors take values and build the message: the rule, the value that broke it, what to do.
No HTTP here: `api/problems/problem.py` maps each class to a problem+json answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

LONGEST_VALUE = 120  # characters of a value that a message quotes


class BrainformerError(Exception):
    """Base of every error that this project raises on purpose.

    Attributes:
        message: One sentence that says what is wrong and what to do.
    """

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(BrainformerError):
    """The caller's input breaks a rule, or several.

    Attributes:
        pointer: JSON pointer to the offending field ("" for the whole document).
        others: Further rules that the same input breaks; the message tells them all.
    """

    code = "invalid_input"

    def __init__(
        self,
        rule: str,
        value: object = None,
        pointer: str = "",
        *,
        line: int | None = None,
        others: Sequence[InvalidInput] = (),
    ) -> None:
        met = "" if value is None else f" (got {_shown(value)})"
        told = placed(f"{rule}{met}", pointer, line)
        super().__init__("; ".join([told, *(other.message for other in others)]))
        self.rule = rule
        self.value = value
        self.pointer = pointer
        self.others = tuple(others)


def placed(rule: str, pointer: str, line: int | None = None) -> str:
    """Returns a rule with its place: as the subject of what must be, otherwise behind it."""
    at = "" if line is None else f" (line {line})"
    if pointer and rule.startswith(("must ", "is ")):
        return f"{pointer}{at} {rule}"
    return f"{rule} at {pointer}{at}" if pointer else f"{rule}{at}"


def _shown(value: object) -> str:
    """Returns a value as messages quote it: whole if it is short."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


class InvalidGenome(InvalidInput):
    """A genome whose shapes or fields cannot work."""

    code = "invalid_genome"


class InvalidSpace(InvalidInput):
    """A space definition that contradicts itself."""

    code = "invalid_space"


class InvalidSpec(InvalidInput):
    """A search spec that breaks a rule."""

    code = "invalid_spec"


class InvalidMeasurement(InvalidInput):
    """A missing, NaN or infinite measurement where a finite number is required."""

    code = "invalid_measurement"


class InvalidMesh(InvalidInput):
    """A device mesh that does not divide the model or the devices."""

    code = "invalid_mesh"


class InvalidData(InvalidInput):
    """Training data that is corrupt, truncated, of the wrong encoding or too small."""

    code = "invalid_data"


class InvalidExport(InvalidInput):
    """An exported file or folder that is truncated, changed, or of a newer version."""

    code = "invalid_export"


class InvalidCheckpoint(InvalidInput):
    """A checkpoint that is truncated, changed, of a newer version, or of something else."""

    code = "invalid_checkpoint"


class NotFound(BrainformerError):
    """Something named does not exist."""

    code = "not_found"

    def __init__(self, kind: str, name: object, known: Sequence[str] = ()) -> None:
        hint = f"; known: {', '.join(known)}" if known else ""
        super().__init__(f"no {kind} {name!s}{hint}")
        self.kind = kind
        self.name = name


class Conflict(BrainformerError):
    """The request contradicts the current state."""

    code = "conflict"


class IllegalTransition(Conflict):
    """A status change that is not in the table of legal transitions."""

    code = "illegal_transition"

    def __init__(self, kind: str, name: object, status: str, wanted: str) -> None:
        refused = " already" if status == wanted else f", so it cannot become {wanted}"
        super().__init__(f"{kind} {name} is {status}{refused}")
        self.status = status
        self.wanted = wanted


class StaleVersion(Conflict):
    """The row changed since the caller read it."""

    code = "stale_version"

    def __init__(self, kind: str, name: object, expected: int, actual: int) -> None:
        super().__init__(
            f"{kind} {name} is at version {actual}, not {expected}; read it again and retry"
        )


class LeaseLost(Conflict):
    """A report from an attempt that no longer holds the trial; it is kept for audit."""

    code = "lease_lost"

    def __init__(self, trial_id: int, attempt: int, why: str) -> None:
        super().__init__(f"attempt {attempt} no longer holds trial {trial_id}: {why}")


Refusal: TypeAlias = NotFound | LeaseLost  # of a report


class TooManySearches(Conflict):
    """As many searches are open as this controller takes."""

    code = "too_many_searches"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} searches are open, which is the most here (setting max_open_searches); "
            "stop or cancel one first"
        )


class IdempotencyMismatch(Conflict):
    """An idempotency key was used before with a different body."""

    code = "idempotency_mismatch"

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used with a different body; use a new key")


class IdempotencyInFlight(Conflict):
    """A request with the same idempotency key is still being served."""

    code = "idempotency_in_flight"

    def __init__(self, key: str) -> None:
        super().__init__(f"a request with idempotency key {key!r} is in flight; retry shortly")


class DataMismatch(Conflict):
    """A worker's copy of a data set differs from the one the search recorded."""

    code = "data_mismatch"

    def __init__(self, dataset: str, expected: str, actual: str) -> None:
        super().__init__(
            f"data set {dataset!r} has hash {actual[:12]}, but the search recorded "
            f"{expected[:12]}; prepare it again from the same files"
        )


class VersionSkew(Conflict):
    """A worker and a controller of different versions, which may not understand one another."""

    code = "version_skew"

    def __init__(self, worker: str, controller: str) -> None:
        release = ".".join(controller.split(".")[:2])
        super().__init__(
            f"worker {worker} does not fit controller {controller}: both must be of one minor "
            f"version; install brainformer-search=={release}.* for the worker, or bring the "
            "controller to the worker's version"
        )


class PoolRetired(Conflict):
    """A pool that was retired gets no work."""

    code = "pool_retired"

    def __init__(self, pool: str) -> None:
        super().__init__(
            f"pool {pool} was retired and gets no more trials; if it is back for good, run "
            f"'{how_to_return(pool)}', otherwise stop its workers"
        )


def how_to_return(pool: str) -> str:
    """Returns the command that gives a retired pool work again."""
    return f"brainformer pool retire {pool} --return"


class SpaceExhausted(BrainformerError):
    """Every genome within reach has been tried."""

    code = "space_exhausted"

    def __init__(self, tried: int, attempts: int) -> None:
        super().__init__(
            f"no untried genome found in {attempts} attempts ({tried} tried so far); "
            "widen the space or end the search"
        )


class TrainingDiverged(BrainformerError):
    """A loss is no longer a finite number, so that going on makes no sense."""

    code = "training_diverged"

    def __init__(self, step: int, loss: float, what_to_do: str, *, split: str = "training") -> None:
        super().__init__(f"the {split} loss is {loss} at step {step}; {what_to_do}")
        self.step = step


class EnvironmentProblem(BrainformerError):
    """Something this machine should offer is missing or not permitted."""

    code = "environment_problem"

    def __init__(self, what: str, what_to_do: str) -> None:
        super().__init__(f"{what}; {what_to_do}")


class ImplausibleClock(EnvironmentProblem):
    """The clock is far from what the database has seen, so one of them is wrong."""

    code = "implausible_clock"

    def __init__(self, here: str, why: str) -> None:
        super().__init__(
            f"the clock says {here} UTC, {why}",
            "set the clock; if it is right, mend the database with `brainformer db clock --repair`",
        )


class ControllerUnreachable(BrainformerError):
    """The controller does not answer, or its answer cannot be used."""

    code = "controller_unreachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"no usable answer from the controller at {url}: {why}")


class NotAuthorised(BrainformerError):
    """The controller refuses the token, or asks for one."""

    code = "unauthorized"
