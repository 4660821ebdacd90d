"""Help comes at once: what is heavy is imported by the command that runs, not by all of them."""

from __future__ import annotations

import json
import subprocess
import sys

# Each costs between 0.02 and 2 seconds to import; none is needed to tell what a command does.
HEAVY = (
    *("pydantic", "rich.console", "psutil"),
    *("numpy", "scipy", "pydantic_settings", "sqlalchemy", "alembic", "yaml", "httpx2"),
    *("fastapi", "starlette", "uvicorn", "jax", "flax", "ray", "pyarrow", "tokenizers"),
)
SCRIPT = f"""
import json, sys
before = set(sys.modules)
from brainformer.api.cli.main import main
sys.argv = ["brainformer", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(set({HEAVY!r}) & (set(sys.modules) - before))]), file=sys.stderr)
"""


def test_no_help_imports_what_takes_long() -> None:
    # Every command's module is loaded to list the commands, whichever is asked about.
    for words in ([], ["search", "create"], ["export"], ["worker"]):
        command = [sys.executable, "-c", SCRIPT, *words, "--help"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert json.loads(ran.stderr) == [0, []]
        assert "Usage: brainformer" in ran.stdout
