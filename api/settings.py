"""The controller's settings: from the environment, a file, or the command line.

Each field's description is its documentation: docs/settings.md is made of them
(`make snapshots`), and a test compares.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from brainformer.search.errors import InvalidInput
from brainformer.search.proxy.proxy import Name
from brainformer.search.validation import first_problem

PREFIX = "BRAINFORMER_"
GIBIBYTE = 1024**3
# Always served: health checks ask from beside, and no page of another site can send these names.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def default_database_url() -> str:
    """Returns the SQLite file in the user's data folder."""
    root = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return f"sqlite:///{Path(root) / 'brainformer' / 'search.db'}"


class Settings(BaseSettings):
    """What an operator may choose; names in the environment carry the prefix BRAINFORMER_."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    database_url: str = Field(
        default_factory=default_database_url,
        description="`sqlite:///FILE` or `postgresql+psycopg://USER@HOST/NAME`.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to bind. Any other than loopback needs at least one token.",
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=8700, description="Port to bind; 0 takes any free one."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Host names that requests may be addressed to, beside loopback's. Empty: "
        "loopback names alone while the controller is bound to loopback, else any.",
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins (`https://host`) beside the controller's own from which a browser "
        "may change things.",
    )
    datasets: tuple[Name, ...] = Field(
        default=(),
        description="Data set ids that searches may name beside the built-in ones and those that "
        "workers have offered.",
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4 * 1024 * 1024, description="Largest request body, in bytes."
    )
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=30, description="Longest time in which a request's body must have arrived."
    )
    max_connections: Annotated[int, Field(ge=10)] = Field(
        default=2000, description="Most connections at once; more are answered 503."
    )
    max_json_depth: Annotated[int, Field(ge=8, le=150)] = Field(
        default=32, description="Deepest nesting of a JSON body."
    )
    max_parameters: Annotated[int, Field(ge=1)] = Field(
        default=20_000_000_000,
        description="Most parameters that a genome of a search may have; checked for the largest "
        "genome of the space before the search is made.",
    )
    max_memory_bytes: Annotated[int, Field(ge=1)] = Field(
        default=1024 * GIBIBYTE,
        description="Most bytes that a training step may need by the cost model; checked likewise.",
    )
    max_streams: Annotated[int, Field(ge=1)] = Field(
        default=200, description="Most event streams and exports open at once."
    )
    max_streams_per_client: Annotated[int, Field(ge=1)] = Field(
        default=32, description="Most event streams and exports open at once from one address."
    )
    max_waiting_claims: Annotated[int, Field(ge=0)] = Field(
        default=500, description="Most lease claims that wait at once; more are answered at once."
    )
    claims_per_second: Annotated[float, Field(gt=0)] = Field(
        default=200, description="Lease claims a second from one address, in the long run."
    )
    failed_logins_per_minute: Annotated[float, Field(gt=0)] = Field(
        default=30, description="Wrong tokens a minute from one address, in the long run."
    )
    token_cache_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        default=1,
        description="How long a token's check is remembered; a revocation by another process "
        "takes effect after this time at the latest.",
    )
    session_hours: Annotated[float, Field(gt=0, le=24 * 365)] = Field(
        default=12, description="How long a browser stays signed in."
    )
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=60)] = Field(
        default=15, description="Pause after which a silent event stream gets a comment."
    )
    poll_seconds: Annotated[float, Field(ge=0.01, le=60)] = Field(
        default=1,
        description="How often the database is asked for what other controllers did; what this "
        "one did is seen at once.",
    )
    reap_seconds: Annotated[float, Field(ge=0.01, le=3600)] = Field(
        default=5, description="How often expired leases are looked for."
    )
    shutdown_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=10, description="Longest wait for requests in flight at the end."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines that are written."
    )
    log_format: Literal["json", "text"] = Field(
        default="text", description="One JSON object a line, or lines for people."
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def trusted_hosts(self) -> frozenset[str]:
        """Host names that requests may be addressed to; "*" stands for any."""
        if self.allowed_hosts:
            return LOOPBACK_NAMES | {name.lower() for name in self.allowed_hosts}
        if self.is_loopback:
            return LOOPBACK_NAMES | {self.host.lower()}
        return frozenset({"*"})


HEADER = """# Settings of the controller

Each setting can be given in the environment (`BRAINFORMER_PORT=9000`) or in a YAML or TOML file
(`brainformer serve --config FILE`, `port: 9000`), some on the command line. The command line wins
over the environment, the environment over the file. Lists in the environment are JSON:
`BRAINFORMER_ALLOWED_HOSTS='["search.example.org"]'`.

This table is generated from api/settings.py by `make snapshots`.
"""


def load_settings(config: Path | None = None, **given: Any) -> Settings:
    """Returns the settings: `given` first, then the environment, then the file, then defaults.

    Raises:
        InvalidInput: names the setting, its value and the rule, or what is wrong with the file.
    """
    values = _read(config) if config is not None else {}
    from_environment = {name.lower() for name in os.environ}
    kept = {k: v for k, v in values.items() if f"{PREFIX}{k}".lower() not in from_environment}
    try:
        return Settings(**(kept | given))
    except ValidationError as error:
        rule, value, where = first_problem(error)
        name = where.strip("/").replace("/", ".")
        raise InvalidInput(f"setting {name or 'file'}: {rule}", value) from None


def _read(file: Path) -> dict[str, Any]:
    """Returns the settings in a YAML or TOML file."""
    try:
        text = file.read_text("utf-8")
        data = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise InvalidInput(f"cannot read the settings {file}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise InvalidInput(f"the settings {file} are not YAML or TOML: {why}") from None
    if not isinstance(data, dict | None):
        raise InvalidInput(f"the settings {file} must be a mapping of names to values")
    return {str(name): value for name, value in (data or {}).items()}


def settings_document() -> str:
    """Returns docs/settings.md."""
    lines = [
        HEADER,
        "| name | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "a file in the user's data folder" if name == "database_url" else field.default
        shown = "none" if default == () else f"{default}"
        lines.append(f"| `{name}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
