"""`brainformer demo`: controller, local Ray and dispatcher on this machine, start to export."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.searches.export import fetch_export
from brainformer.api.cli.terminal.address import DEFAULT_URL
from brainformer.api.cli.terminal.exit_codes import SEARCH_FAILED
from brainformer.api.cli.terminal.output import (
    number,
    say,
    stdout,
    table,
    write_atomically,
)
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.api.report.certainty import verdict_sentence
from brainformer.search.errors import ControllerUnreachable, EnvironmentProblem
from brainformer.search.status import SearchStatus

if TYPE_CHECKING:
    from brainformer.api.cli.demo.processes import Family
    from brainformer.api.cli.terminal.controller_client import ControllerClient
    from brainformer.search.spec import SearchSpec

START_SECONDS = 60


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo keeps its search, logs and export.")
    ] = Path("demo"),
    spec: Annotated[
        Path | None, typer.Option("--file", "-f", help="Another spec.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes any free port.", min=0, max=65_535)] = 0,
) -> None:
    """Search nano blocks on this machine, watch, and export the best one.

    Running it again continues the same search; remove the folder to start over.
    """
    from brainformer.api.cli.demo.processes import Family
    from brainformer.search.spec import parse_spec, read_spec_file

    wanted = parse_spec(_default_spec() if spec is None else read_spec_file(spec))
    _check_ready(folder)
    family = Family(folder / "logs")
    with _stopped_at_the_end(family):
        client = _start_controller(family, folder, port or _free_port())
        record = _find_or_create(client, wanted)
        say(f"dashboard: {client.url}/?search={record['id']}")
        if not SearchStatus(record["status"]).ended:
            family.start("worker", ["worker", "--url", client.url, "--pool", "cpu"])
            record = _follow(client, family, record)
        _report_end(client, record, folder)


def _default_spec() -> str:
    return (files("brainformer.api.cli.demo") / "demo.yaml").read_text("utf-8")


def _check_ready(folder: Path) -> None:
    """Raises EnvironmentProblem before anything starts if the demo could not end well."""
    require_worker_packages("jax", "ray")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {folder}: {error.strerror}", "choose another place with --folder"
        ) from None


@contextmanager
def _stopped_at_the_end(family: Family) -> Iterator[None]:
    """Stops the family however the block ends: normally, by Ctrl-C or by SIGTERM."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        say("\nstopping; run the demo again to continue this search")
        raise
    finally:
        family.stop()
        signal.signal(signal.SIGTERM, before)


def _start_controller(family: Family, folder: Path, port: int) -> ControllerClient:
    """Returns a client of a controller that has just come up.

    Raises:
        EnvironmentProblem: it ended by itself; with the last line that it wrote.
        ControllerUnreachable: it did not answer in time.
    """
    from brainformer.api.cli.terminal.controller_client import ControllerClient

    database = f"sqlite:///{(folder / 'search.db').resolve()}"
    family.start("controller", ["serve", "--port", str(port), "--database", database])
    client = ControllerClient(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + START_SECONDS
    while not client.healthy():
        _check_alive(family)
        if time.monotonic() > deadline:
            raise ControllerUnreachable(client.url, f"no answer within {START_SECONDS} s")
        time.sleep(0.1)
    return client


def _check_alive(family: Family) -> None:
    name = family.dead()
    if name is not None:
        words = family.last_words(name).removeprefix("error: ")
        raise EnvironmentProblem(
            f"the {name} has ended: {words}", f"see {family.logs / name}.log for more"
        )


def _find_or_create(client: ControllerClient, spec: SearchSpec) -> dict[str, Any]:
    """Returns the search of this name, the one before going on where it was."""
    for record in client.get("/searches", limit=100)["items"]:
        if record["name"] == spec.name:
            say(f"continuing search {record['id']} ({record['status']})")
            return dict(record)
    body = spec.model_dump(mode="json")
    return dict(client.post("/searches", body, Idempotency_Key=f"demo-{spec.name}"))


def _follow(client: ControllerClient, family: Family, record: dict[str, Any]) -> dict[str, Any]:
    """Shows the search's progress until it ends; returns its last state."""
    from brainformer.api.cli.demo.progress import DemoProgress

    with DemoProgress(record) as progress:
        while not SearchStatus(record["status"]).ended:
            _check_alive(family)
            record = client.get(f"/searches/{record['id']}")
            progress.update(record, client.get(f"/searches/{record['id']}/trials", sort="-seq"))
            time.sleep(0.5)
    return record


def _report_end(client: ControllerClient, record: dict[str, Any], folder: Path) -> None:
    """Prints baseline against best and writes the export."""
    if record["status"] == SearchStatus.FAILED or not record["candidates_finished"]:
        say(f"the search {record['status']}: {record['reason']}; see {folder / 'logs'}")
        raise typer.Exit(SEARCH_FAILED)
    best = client.get(f"/searches/{record['id']}/best")
    stdout().print(_comparison(client, record, best))
    say(f"the best block {verdict_sentence(best)}")
    file = folder / "best-block.json"
    write_atomically(file, fetch_export(client, record["id"], None).to_json())
    say(f"exported {file}; to start a new search, remove the folder {folder}")


def _comparison(client: ControllerClient, record: dict[str, Any], best: dict[str, Any]) -> Any:
    """Returns the table baseline against best."""
    base, trial = best["baseline"] or {}, best["trial"]
    measured, parameters = trial["measurements"], _rival_size(client, record, base)
    gain = best["mean_fitness"]
    runs = f"  gain in {best['baseline_repeats']} and {best['repeats']} fresh runs"
    rows = [
        (
            "validation loss (nats/token)",
            base.get("validation_loss"),
            measured["validation_loss"],
            3,
        ),
        (runs, None if gain is None else 0.0, gain, 3),
        ("bits per byte", base.get("bits_per_byte"), measured["bits_per_byte"], 3),
        ("step time (ms)", base.get("step_time_ms"), measured["step_time_ms"], 1),
        *(
            (name.replace("_", " "), parameters.get(name), trial[name], 0)
            for name in ("parameters", "activated_parameters")
        ),
    ]
    cells = [(name, number(a, digits), number(b, digits)) for name, a, b, digits in rows]
    return table(("", f"{_rival_name(record, base)}>", f"best (trial {trial['number']})>"), cells)


def _rival_size(
    client: ControllerClient, record: dict[str, Any], baseline: dict[str, Any]
) -> dict[str, Any]:
    """Returns the parameters of the block that the pool's repeats are of: not any family member."""
    if baseline.get("rival") is None:
        path = f"/searches/{record['id']}/trials"
        trials = client.get(path, kind="baseline", limit=1)["items"]
        return dict(trials[0]) if trials else {}
    from brainformer.search.cost import cost
    from brainformer.search.proxy.proxy import Proxy
    from brainformer.search.space.genome import parse_genome

    rival = parse_genome(baseline["rival"])
    proxy = Proxy.model_validate(record["spec"]["proxy"])
    return {
        "parameters": cost.parameters(rival, proxy),
        "activated_parameters": cost.activated_parameters(rival, proxy),
    }


def _rival_name(record: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Returns what the baseline is called: which member of the family it is."""
    from brainformer.search.space.genome import parse_genome
    from brainformer.search.spec import SearchSpec

    if baseline.get("rival") is None:
        return "baseline"
    rival = parse_genome(baseline["rival"])
    members = SearchSpec.model_validate(record["spec"]).rivals()
    label = next((one.label for one in members if one.genome.digest == rival.digest), "")
    return f"baseline ({label})" if label else "baseline"


def _free_port() -> int:
    """Returns the default port if it is free, else any free one."""
    for port in (int(DEFAULT_URL.rsplit(":", 1)[1]), 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EnvironmentProblem("no free port on 127.0.0.1", "choose one with --port")
