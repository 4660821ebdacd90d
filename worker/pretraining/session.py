"""One process's session of training, from what the user names to the ending.

Where a run comes from and where it goes:

| source | output | what happens |
| --- | --- | --- |
| a block, with or without weights | NEW | a new run |
| a run | none | it goes on from its newest checkpoint |
| a run or a checkpoint | NEW | a new run begins where the checkpoint stands |
| a run, to be prolonged | NEW | the same, from where the decay began |
| any | the run of that very plan | it goes on: the same command again does no harm |
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jax

from brainformer.search.errors import Conflict, EnvironmentProblem, InvalidCheckpoint, InvalidInput
from brainformer.search.export.provenance import Provenance
from brainformer.search.proxy.mesh import MeshAxes
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import Genome
from brainformer.worker.datasets.catalogue import open_dataset
from brainformer.worker.datasets.dataset import Dataset
from brainformer.worker.devices.hosts import HostLost, Hosts, hosts_here
from brainformer.worker.export.weighted_model import WeightedModel
from brainformer.worker.pretraining.manifest import (
    CheckpointManifest,
    is_checkpoint,
    read_manifest,
)
from brainformer.worker.pretraining.plan import TrainingPlan
from brainformer.worker.pretraining.planning import (
    Wishes,
    branched_plan,
    check_goes_on,
    new_plan,
    prolonged_plan,
    tokenizer_of,
)
from brainformer.worker.pretraining.pretraining import Ending, Intervals, Position, Pretraining
from brainformer.worker.pretraining.progress import Observer
from brainformer.worker.pretraining.run_folder import RunFolder
from brainformer.worker.pretraining.start import compiled, initial_state, state_of
from brainformer.worker.pretraining.trackers import Journal
from brainformer.worker.timing.clock import Clock, SystemClock
from brainformer.worker.training.program import Program, wait

SPARE_CHECKPOINTS = 2  # that must fit on the disk before training begins


@dataclass(frozen=True)
class Block:
    """A block to train from the start, with the weights that it comes with, if any."""

    genome: Genome
    proxy: Proxy
    provenance: Provenance = field(default_factory=Provenance)
    model: WeightedModel | None = None


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        source: A block, or the folder of a run or of a checkpoint.
        output: The folder of the new run; None to go on in the source's.
        wishes: What of the plan they name.
        prolong: Whether the source's run is to become longer.
        data: Of a data set; None for the source's own.
        tokenizer: The file that the data set was prepared with, where it does not keep it.
        mesh: Devices along each axis; None for the rule.
    """

    source: Block | Path
    output: Path | None
    wishes: Wishes = field(default_factory=Wishes)
    prolong: bool = False
    data: str | None = None
    data_folder: Path | None = None
    tokenizer: str | None = None
    mesh: MeshAxes | None = None
    intervals: Intervals = field(default_factory=Intervals)


@dataclass(frozen=True)
class _Goal:
    """What the request comes to.

    Attributes:
        checkpoint: The state to begin with; None for a new model.
        goes_on: Whether the checkpoint is one of the same run.
    """

    plan: TrainingPlan
    data: Dataset
    checkpoint: Path | None = None
    position: Position = field(default_factory=Position)
    goes_on: bool = False


def train(
    request: Request,
    *,
    observers: Callable[[RunFolder], Sequence[Observer]] = lambda _: (),
    tell: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    cache_folder: Path | None = None,
) -> Ending:
    """Trains until the plan is fulfilled or `stop` is set, and returns how it ended.

    Args:
        request: What is asked for.
        observers: Makes those who are told of the run, for its folder.
        tell: Takes a sentence now and then.
        stop: Set from outside to save and end.
        clock: Real time.
        cache_folder: Keeps compiled programs between processes.

    Raises:
        InvalidInput: something asked for breaks a rule; nothing was written.
        Conflict: the folder holds another run, or another process trains in it.
        EnvironmentProblem: no memory, no place or no permission; checkpoints are untouched.
        TrainingDiverged: a loss is not finite.
    """
    clock = clock or SystemClock()
    folder = _target(request)
    hosts = hosts_here(f"train/{folder.folder.name}")
    with folder.held(hosts), _told_plainly(folder):
        goal = _goal(request, folder)
        tokenizer = tokenizer_of(goal.data, request.tokenizer)
        if goal.goes_on and goal.position.step == goal.plan.total_steps:
            tell(f"the run in {folder.folder} is complete; --prolong makes it longer")
            return _already(folder)
        tell(_plainly(goal, folder))
        program = compiled(
            goal.plan, mesh=request.mesh, clock=clock, cache_folder=cache_folder, hosts=hosts
        )
        tell(f"compiled in {program.compile_seconds:.0f} s")
        _check_room(program, folder, hosts)
        if goal.checkpoint is not None:
            state = state_of(program, goal.checkpoint)
        else:
            model = request.source.model if isinstance(request.source, Block) else None
            state = initial_state(program, model)
        wait(state)
        watching = [Journal(folder), *observers(folder)] if hosts.first else []
        return Pretraining(
            plan=goal.plan,
            program=program,
            data=goal.data,
            folder=folder,
            position=goal.position,
            intervals=request.intervals,
            observers=watching,
            hosts=hosts,
            clock=clock,
            stop=stop or threading.Event(),
            tokenizer=tokenizer,
        ).train(state)


def _target(request: Request) -> RunFolder:
    """Returns the folder to train in.

    Raises:
        InvalidInput: a new run has no place.
        EnvironmentProblem: something else is there.
    """
    source = request.source
    same = isinstance(source, Path) and request.output and _same(source, request.output)
    if request.output is not None and not (same and request.prolong):
        target = RunFolder(request.output)
        if not target.exists:
            target.check_free()
        return target
    if isinstance(source, Path) and RunFolder(source).exists and not request.prolong:
        return RunFolder(source)
    what = "a longer run" if request.prolong else "a new run"
    raise InvalidInput(f"{what} needs a folder of its own: name it with --output")


@contextmanager
def _told_plainly(folder: RunFolder) -> Iterator[None]:
    """Names an older checkpoint if the newest is damaged; says what to do if a host is lost."""
    try:
        yield
    except HostLost as lost:
        raise EnvironmentProblem(
            str(lost), "start it on all hosts again: it goes on from its newest checkpoint"
        ) from None
    except InvalidCheckpoint as error:
        older = folder.checkpoints()[-2:-1]
        if not older or str(folder.newest()) not in error.rule:
            raise
        raise InvalidCheckpoint(
            f"{error.rule}; from an older one: brainformer train {older[0]} --output NEW",
            error.value,
            error.pointer,
        ) from None


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _goal(request: Request, folder: RunFolder) -> _Goal:
    """Returns what to train and where to begin."""
    source = request.source
    if isinstance(source, Path) and _same(source, folder.folder):
        manifest = read_manifest(folder.newest())
        data = _data(request, manifest.plan.proxy)
        check_goes_on(manifest, request.wishes, data)
        return _going_on(manifest, folder.newest(), data)
    if isinstance(source, Path):
        wanted = _branch(request, source)
    else:
        data = _data(request, source.proxy)
        plan = new_plan(
            source.genome,
            source.proxy,
            request.wishes,
            data,
            provenance=source.provenance,
            with_weights=source.model is not None,
        )
        wanted = _Goal(plan, data)
    if not folder.exists:
        return wanted
    manifest = read_manifest(folder.newest())
    other = wanted.plan.differences(manifest.plan)
    if other:
        raise Conflict(
            f"{folder.folder} holds another run (other {', '.join(other)}); go on with that one "
            f"by `brainformer train {folder.folder}`, or choose another place with --output"
        )
    return _going_on(manifest, folder.newest(), wanted.data)


def _branch(request: Request, source: Path) -> _Goal:
    """Returns a new run that begins where a checkpoint of another one stands."""
    run = RunFolder(source)
    checkpoint = source if is_checkpoint(source) else run.newest()
    if request.prolong and not is_checkpoint(source):
        checkpoint = _before_the_decay(run)
    manifest = read_manifest(checkpoint)
    data = _data(request, manifest.plan.proxy)
    if request.prolong and not request.wishes.length_given:
        raise InvalidInput("say how long the whole run is to be: --steps, --tokens or --hours")
    make = prolonged_plan if request.prolong else branched_plan
    plan = make(manifest, request.wishes, data)
    return _Goal(plan, data, checkpoint, Position(manifest.step, manifest.elapsed_seconds))


def _before_the_decay(run: RunFolder) -> Path:
    """Returns the newest checkpoint that a longer run would have, too."""
    newest = run.newest()
    start = read_manifest(newest).plan.decay_start
    found = [one for one in run.checkpoints() if start is None or int(one.name) <= start]
    if not found:
        raise InvalidInput(f"{run.folder} keeps no checkpoint from before its decay")
    return found[-1]


def _going_on(manifest: CheckpointManifest, checkpoint: Path, data: Dataset) -> _Goal:
    position = Position(manifest.step, manifest.elapsed_seconds, manifest.run)
    return _Goal(manifest.plan, data, checkpoint, position, goes_on=True)


def _data(request: Request, proxy: Proxy) -> Dataset:
    return open_dataset(request.data or proxy.dataset, request.data_folder)


def _check_room(program: Program, folder: RunFolder, hosts: Hosts) -> None:
    """Refuses a disk that has no room for the first checkpoints."""
    if not hosts.first:
        return
    sizes = (leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(program.portable_shapes))
    needed, free = SPARE_CHECKPOINTS * sum(sizes), shutil.disk_usage(folder.folder).free
    if free < needed:
        raise EnvironmentProblem(
            f"{folder.folder} has {free / 2**20:,.0f} MiB free, and checkpoints of this run need "
            f"{needed / 2**20:,.0f} MiB at least",
            "make room, or choose another place with --output",
        )


def _plainly(goal: _Goal, folder: RunFolder) -> str:
    """Returns a sentence that says what will be trained."""
    plan = goal.plan
    if plan.total_steps is None:
        length = f"for {plan.hours:g} hours"
    else:
        tokens = plan.total_steps * plan.tokens_per_step
        length = f"for {plan.total_steps:,} steps, {tokens:,} tokens"
    begin = f"going on from step {goal.position.step:,}" if goal.checkpoint else "training"
    return (
        f"{begin} {length} on {plan.proxy.dataset}: genome {plan.genome.digest[:12]}, "
        f"{plan.proxy.batch_size} x {plan.proxy.sequence_length} tokens a step, in {folder.folder}"
    )


def _already(folder: RunFolder) -> Ending:
    newest = folder.newest()
    told = read_manifest(newest)
    return Ending(
        "completed", told.step, newest, told.validation_loss, told.bits_per_byte, told.plan
    )
