"""`brainformer`: every command, and how its errors end the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer

from brainformer.api.cli.blocks import genome, space, zoo
from brainformer.api.cli.commands import (
    compilation,
    data,
    db,
    doctor,
    evaluate,
    fleet,
    generate,
    pool,
    serve,
    token,
    train,
    worker,
)
from brainformer.api.cli.demo import demo
from brainformer.api.cli.examples import show_examples
from brainformer.api.cli.searches import (
    certify,
    export,
    promote,
    results,
    search,
    search_changes,
)
from brainformer.api.cli.terminal.exit_codes import ERROR, INTERRUPTED, exit_code
from brainformer.api.cli.terminal.group import Group
from brainformer.api.cli.terminal.output import say
from brainformer.search.errors import BrainformerError

app = typer.Typer(
    name="brainformer",
    cls=Group,
    help="Discover better transformer blocks under a fixed training budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)
search.app.command("delete")(search_changes.delete)
search.app.command("limits")(search_changes.limits)
app.add_typer(search.app, name="search")
app.command("certify")(certify.certify)
app.command("promote")(promote.promote)
app.command("export")(export.export)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("generate")(generate.generate)
app.command("compile")(compilation.compile_step)
app.command("best")(results.best)
app.command("report")(results.report)
app.add_typer(results.app, name="trial")
app.command("workers")(fleet.workers)
app.command("open")(fleet.open_dashboard)
app.add_typer(genome.app, name="genome")
app.add_typer(space.app, name="space")
app.add_typer(zoo.app, name="zoo")
app.add_typer(data.app, name="data")
app.add_typer(pool.app, name="pool")
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)
show_examples(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write("".join(f"{line}\n" for line in _versions()))
        raise typer.Exit


def _versions() -> Iterator[str]:
    """Yields this program's version, Python's, and those of what runs trials where it is there."""
    from importlib.metadata import PackageNotFoundError, version

    yield f"brainformer {version('brainformer-search')}"
    yield f"python {sys.version.split()[0]}"
    for package in ("jax", "ray"):
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"


@app.callback()
def common(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version, and those of jax and ray, and exit.",
            is_eager=True,
            callback=_show_version,
        ),
    ] = False,
) -> None:
    """Discover better transformer blocks under a fixed training budget."""
    del show_version  # the callback has answered


def main() -> None:
    """Runs the command line; an expected error is one sentence and a documented exit code."""
    try:
        app()
    except BrainformerError as error:
        say(f"error: {error.message}")
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED)
    except OSError as error:
        place = f"cannot use {error.filename}: " if error.filename else ""
        say(f"error: {place}{error.strerror or error}")
        sys.exit(ERROR)


if __name__ == "__main__":
    main()
