"""An example of every command, shown below its help and in docs/cli.md; tests read each one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

EXAMPLES: dict[str, str] = {
    "serve": "brainformer serve --port 8700 --database sqlite:///search.db",
    "worker": "brainformer worker --pool cpu --slots 2 --url http://controller:8700",
    "demo": "brainformer demo --folder demo",
    "certify": "brainformer certify laptop --budget 1 --budget 6 --scale 1",
    "promote": "brainformer promote laptop --top 3 --scales 1x,2x,4x --budget 2h",
    "export": "brainformer export laptop --format huggingface -o model",
    "train": "brainformer train block.json --data my-text --tokens 20M -o run",
    "eval": "brainformer eval run --data my-text --split test",
    "generate": "brainformer generate run --prompt 'def main():' --temperature 0.7",
    "compile": "brainformer compile glam --target tpu-v6e-8",
    "doctor": "brainformer doctor --json",
    "best": "brainformer best laptop",
    "report": "brainformer report laptop -o report.html",
    "workers": "brainformer workers --json",
    "open": "brainformer open laptop",
    "search create": "brainformer search create -f examples/laptop.yaml",
    "search list": "brainformer search list --json",
    "search show": "brainformer search show laptop",
    "search pareto": "brainformer search pareto laptop",
    "search watch": "brainformer search watch laptop",
    "search pause": "brainformer search pause laptop",
    "search resume": "brainformer search resume laptop",
    "search stop": "brainformer search stop laptop",
    "search cancel": "brainformer search cancel laptop",
    "search delete": "brainformer search delete laptop --yes",
    "search limits": "brainformer search limits laptop --trials 200",
    "trial list": "brainformer trial list laptop --sort -fitness --limit 10",
    "trial show": "brainformer trial show laptop 17",
    "trial repeat": "brainformer trial repeat laptop 17",
    "genome show": "brainformer genome show glam",
    "genome validate": "brainformer genome validate seeds.jsonl --space nano --proxy nano",
    "genome cost": "brainformer genome cost block.json --space brainformer-100m32e",
    "genome diff": "brainformer genome diff glam block.json",
    "genome draw": "brainformer genome draw glam",
    "space list": "brainformer space list",
    "space show": "brainformer space show nano",
    "space validate": "brainformer space validate my-space.yaml",
    "space size": "brainformer space size nano",
    "zoo list": "brainformer zoo list --space nano",
    "zoo show": "brainformer zoo show primer",
    "data prepare": "brainformer data prepare my-text corpus/ --tokenizer tokenizer.json",
    "data list": "brainformer data list",
    "data show": "brainformer data show my-text",
    "pool list": "brainformer pool list",
    "pool show": "brainformer pool show cpu",
    "pool drain": "brainformer pool drain cpu",
    "pool resume": "brainformer pool resume cpu",
    "pool retire": "brainformer pool retire cpu",
    "token create": "brainformer token create laptop-worker --scope worker --days 30",
    "token adopt": "brainformer token adopt chart --scope worker --secret-file /run/secrets/token",
    "token list": "brainformer token list",
    "token revoke": "brainformer token revoke 3",
    "db upgrade": "brainformer db upgrade",
    "db check": "brainformer db check",
    "db backup": "brainformer db backup search-backup.db",
    "db restore": "brainformer db restore search-backup.db",
    "db clock": "brainformer db clock --repair",
}


def show_examples(app: typer.Typer) -> None:
    """Puts its example below the help of every command of `app`."""
    for path, info in _commands(app, ""):
        if path in EXAMPLES:
            info.epilog = f"Example: {EXAMPLES[path]}"


def _commands(app: typer.Typer, path: str) -> Iterator[tuple[str, Any]]:
    for info in app.registered_commands:
        name = info.name or (info.callback.__name__ if info.callback else "")
        yield f"{path} {name}".strip(), info
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance, f"{path} {group.name}".strip())
