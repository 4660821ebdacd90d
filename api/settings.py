"""The controller's settings: from the environment, a file, or the command line.

Each field's description is its documentation: docs/settings.md is made of them
(`make snapshots`), and a test compares.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from brainformer.api.environment import PREFIX, Environment, is_service_link, listed
from brainformer.search.errors import InvalidInput
from brainformer.search.proxy.proxy import Name
from brainformer.search.user_folders import data_folder, user_path
from brainformer.search.validation import (
    Broken,
    BrokenRules,
    broken_rules,
    misread_booleans,
)
from brainformer.search.yaml_text import YamlProblem, read_yaml

GIBIBYTE = 1024**3
SUB_PATH = r"^((/[A-Za-z0-9._~-]+)+/?)?$"
# Always served: health checks ask from beside, and no page of another site can send these names.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def default_database_url() -> str:
    """Returns the SQLite file in the user's data folder."""
    return f"sqlite:///{data_folder('--database') / 'search.db'}"


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)]


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
    root_path: Annotated[str, Field(pattern=SUB_PATH, max_length=200)] = Field(
        default="",
        description="Path below which a proxy serves the controller, such as `/brainformer`, "
        "whether the proxy strips it or not.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Host names that requests may be addressed to, beside loopback's. Empty: "
        "loopback names alone while the controller is bound to loopback, else any.",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origins (`https://host`) beside the controller's own from which a browser "
        "may change things.",
    )
    trusted_proxies: Names = Field(
        default=(),
        description="Addresses and networks of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed. Empty: nobody's.",
    )
    datasets: Annotated[tuple[Name, ...], NoDecode, BeforeValidator(listed)] = Field(
        default=(),
        description="Data set ids that searches may name beside the built-in ones and those that "
        "workers have offered.",
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4 * 1024 * 1024, description="Largest request body, in bytes."
    )
    max_import_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=64 * 1024 * 1024,
        description="Largest request body that brings evaluated trials, in bytes.",
    )
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=30, description="Longest time in which a request's body must have arrived."
    )
    max_connections: Annotated[int, Field(ge=10)] = Field(
        default=2000,
        description="Most connections at once; for another one, that which has been idle longest "
        "is closed. The file limit (ulimit -n) must be 200 higher.",
    )
    max_connections_per_client: Annotated[int, Field(ge=1)] = Field(
        default=500,
        description="Most connections at once from one address; more are answered 429. Trusted "
        "proxies may have any number.",
    )
    head_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=10,
        description="Longest time in which the head of a request must have arrived (408).",
    )
    idle_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=30, description="How long a connection stays open between requests."
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
        default=16_384 * GIBIBYTE,
        description="Most bytes that a training step may need by the cost model, over all devices "
        "of a trial; checked likewise.",
    )
    max_open_searches: Annotated[int, Field(ge=1)] = Field(
        default=5000, description="Most searches that have not ended; more are refused (409)."
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
    keep_event_days: Annotated[float, Field(ge=0)] = Field(
        default=90,
        description="How long events are kept, in days; 0 is for ever. Trials are never forgotten.",
    )
    keep_worker_days: Annotated[float, Field(ge=0)] = Field(
        default=90,
        description="How long a worker that is not heard of stays listed, in days; 0 is for ever.",
    )
    keep_audit_days: Annotated[float, Field(ge=0)] = Field(
        default=0, description="How long the audit trail is kept, in days; 0 is for ever."
    )
    tracing: bool = Field(
        default=False,
        description="OpenTelemetry traces of requests and statements, sent where the environment's "
        "OTEL_EXPORTER_OTLP_ENDPOINT says. Needs the extra `otel`.",
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns where values come from: what is given, then the environment."""
        return init_settings, Environment(settings_cls)

    @field_validator("database_url")
    @classmethod
    def _home_is_a_folder(cls, url: str) -> str:
        file = url.removeprefix("sqlite:///")
        return f"sqlite:///{user_path(file)}" if file != url and file.startswith("~") else url

    @field_validator("root_path")
    @classmethod
    def _without_slash(cls, path: str) -> str:
        return path.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        for one in named:
            try:
                ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise ValueError(
                    f"a proxy is named by its address or network (10.0.0.0/8), not {one!r}"
                ) from None
        return named

    def require_lasting_database(self) -> None:
        """Returns if what is written is still there when this process has ended.

        Raises:
            InvalidInput: the database is in memory alone.
        """
        kind, _, place = self.database_url.partition("://")
        file = place.removeprefix("/").partition("?")[0]
        if kind.startswith("sqlite") and (file in {"", ":memory:"} or file.startswith("file:")):
            raise InvalidInput(
                "this database would be gone when the command ends; name a file: sqlite:///FILE",
                self.database_url,
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
over the environment, the environment over the file. Lists are written with commas or as JSON:
`BRAINFORMER_ALLOWED_HOSTS=search.example.org,10.0.0.5`. What Kubernetes sets for a Service called
brainformer (`BRAINFORMER_PORT=tcp://10.96.12.7:8700`) is not a setting.

This table is generated from api/settings.py by `make snapshots`.
"""


def load_settings(config: Path | None = None, **given: Any) -> Settings:
    """Returns the settings: `given` first, then the environment, then the file, then defaults.

    Raises:
        InvalidInput: names every setting that breaks a rule, its value, the rule and the line, or
            what is wrong with the file.
        EnvironmentProblem: no database is named, and this user has no home folder.
    """
    lines: Mapping[str, int] = {}
    values: dict[str, Any] = {}
    if config is not None:
        values, lines = _read(config)
    from_environment = {
        name.lower() for name, value in os.environ.items() if not is_service_link(name, value)
    }
    kept = {k: v for k, v in values.items() if f"{PREFIX}{k}".lower() not in from_environment}
    plain = kept | given
    try:
        settings = Settings(**plain)
    except ValidationError as error:
        broken = BrokenRules(broken_rules(Settings, error, plain))
    else:
        broken = BrokenRules(misread_booleans(plain, settings))
        if not broken.found:
            return settings
    raise BrokenRules([_named(one) for one in broken.found]).as_error(InvalidInput, lines)


def _named(broken: Broken) -> Broken:
    """Returns a broken rule as one of a setting; a database's address may hold a password."""
    secret = broken.pointer == "/database_url"
    name = broken.pointer.lstrip("/").replace("/", ".") or "file"
    rule = f"setting {name}: {broken.rule}"
    return replace(broken, rule=rule, value=None if secret else broken.value)


def _read(file: Path) -> tuple[dict[str, Any], Mapping[str, int]]:
    """Returns the settings in a YAML or TOML file, and the line of each where it is known."""
    lines: Mapping[str, int] = {}
    try:
        text = file.read_text("utf-8-sig")
        if file.suffix.lower() == ".toml":
            data: Any = tomllib.loads(text)
        else:
            found = read_yaml(text)
            data, lines = found.data, found.lines
    except OSError as error:
        raise InvalidInput(f"cannot read the settings {file}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, YamlProblem, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise InvalidInput(f"the settings {file} are not YAML or TOML: {why}") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise InvalidInput(f"the settings {file} hold a number too long to be read") from None
    if not isinstance(data, dict | None):
        raise InvalidInput(f"the settings {file} must be a mapping of names to values")
    return {str(name): value for name, value in (data or {}).items()}, lines


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
