"""The tables of the store, the same on SQLite and PostgreSQL.

Times are seconds since 1970 by the database's clock. Genomes, specs and measurements are JSON
text; what listings sort and filter by stands in columns of its own. Counters stand on the search's
row, so that nothing has to count trials.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)

from brainformer.search.status import SearchStatus

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
Key = BigInteger().with_variant(Integer, "sqlite")
FALSE = text("false")


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _words(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _search() -> Column[str]:
    owner = ForeignKey("searches.id", ondelete="CASCADE")
    return Column("search_id", String(32), owner, nullable=False)


searches = Table(
    "searches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("ordinal", Integer, nullable=False, unique=True),
    Column("name", String(64), nullable=False, index=True),
    Column("status", String(16), nullable=False, index=True),
    _words("reason"),
    Column("spec", Text, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("idempotency_key", String(255), unique=True),
    Column("dataset_hash", String(64)),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("finished_at", Double),
    _count("next_number"),
    _count("trial_seq"),
    _count("queued"),
    _count("running"),
    _count("completed"),
    _count("pruned"),
    _count("failed"),
    _count("cancelled"),
    _count("candidates_proposed"),
    _count("candidates_finished"),
    _count("candidates_open"),
    Column("exhausted", Boolean, nullable=False, server_default=FALSE),
    Column("confirming", Boolean, nullable=False, server_default=FALSE),
    Column("best_number", Integer),
    Column("best_fitness", Double),
    Column("best_deviation", Double),
    _count("best_repeats"),
    Column("kind", String(16), nullable=False, server_default="search"),
    Column("parent_id", String(32), index=True),  # of a certificate or a promotion: its search
    Column("plan", Text),
)

search_notes = Table(
    "search_notes",
    metadata,
    Column(
        "search_id",
        String(32),
        ForeignKey("searches.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    _words("note"),
    Column("archived_at", Double),
)

baselines = Table(
    "baselines",
    metadata,
    Column(
        "search_id",
        String(32),
        ForeignKey("searches.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("pool", String(64), primary_key=True),
    Column("needed", Integer, nullable=False),
    _count("repeats"),
    _words("failure"),
    Column("validation_loss", Double),
    Column("bits_per_byte", Double),
    Column("step_time_ms", Double),
    Column("inference_time_ms", Double),
    Column("noise", Double),
    Column("step_time_noise_ms", Double),
    Column("hurdle_loss", Double),
    Column("hurdle_noise", Double),
    Column("rival", Text),
    Column("rival_proxy", Text),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    _search(),
    Column("number", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("pool", String(64)),
    Column("genome", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("origin", String(32), nullable=False, server_default=""),
    Column("parent_number", Integer),
    _words("mutation"),
    _count("attempt"),
    _count("tries"),
    Column("seed", BigInteger, nullable=False),
    Column("outcome", String(16)),
    _words("message"),
    Column("fitness", Double),
    Column("finished_rank", Integer),
    Column("on_front", Boolean, nullable=False, server_default=FALSE),
    Column("measurements", Text),
    Column("points", Text),
    Column("step_time_ms", Double),
    Column("parameters", BigInteger, nullable=False),
    Column("activated_parameters", BigInteger, nullable=False),
    Column("worker_id", String(128)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("lease_seconds", Double, nullable=False),
    Column("lease_expires_at", Double),
    Column("repeat", Integer),
    Column("proxy", Text),
    Column("label", String(64), nullable=False, server_default=""),
    Column("imported", Boolean, nullable=False, server_default=FALSE),
    Column("lease_key", String(16), nullable=False, server_default=""),
    UniqueConstraint("search_id", "number"),
    Index("ix_trials_seq", "search_id", "seq"),
    Index("ix_trials_fitness", "search_id", "fitness", "number"),
    Index("ix_trials_step_time", "search_id", "step_time_ms", "number"),
    Index("ix_trials_parameters", "search_id", "parameters", "number"),
    Index("ix_trials_status", "search_id", "status", "number"),
    Index("ix_trials_status_seq", "search_id", "status", "seq"),
    Index("ix_trials_status_fitness", "search_id", "status", "fitness", "number"),
    Index("ix_trials_status_step_time", "search_id", "status", "step_time_ms", "number"),
    Index("ix_trials_status_parameters", "search_id", "status", "parameters", "number"),
    Index("ix_trials_kind", "search_id", "kind", "number"),
    Index("ix_trials_pool", "search_id", "pool", "number"),
    Index("ix_trials_digest", "search_id", "digest"),
    Index("ix_trials_rank", "search_id", "finished_rank"),
    sqlite_autoincrement=True,
)


# Few rows, however long the table, each with an index of its own. The conditions are written out,
# for a planner does not know that a parameter will be 'running'.
RUNNING = text("status = 'running'")
QUEUED = text("status = 'queued'")
ON_FRONT = text("on_front")
UNENDED = searches.c.status.not_in([one.value for one in SearchStatus if one.ended])


def _partial(name: str, where: TextClause, *columns: Column[object]) -> Index:
    """Returns an index of the few rows that the condition picks."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("ix_trials_running", RUNNING, trials.c.lease_expires_at)
_partial("ix_trials_queued", QUEUED, trials.c.search_id, trials.c.number)
_partial("ix_trials_front", ON_FRONT, trials.c.search_id, trials.c.number)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("trial_id", Key, ForeignKey("trials.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", String(128), nullable=False),
    Column("pool", String(64), nullable=False),
    Column("outcome", String(16)),
    Column("accepted", Boolean, nullable=False, server_default=FALSE),
    _words("message"),
    _words("traceback"),
    Column("report_hash", String(64)),
    Column("receipt_status", String(16)),
    Column("receipt_fitness", Double),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("lease_key", String(16), nullable=False, server_default=""),
    Index("ix_attempts_trial", "trial_id", "attempt"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("search_id", String(32), ForeignKey("searches.id", ondelete="CASCADE")),
    Column("kind", String(32), nullable=False),
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_events_search", "search_id", "seq"),
    sqlite_autoincrement=True,
)

epochs = Table(
    "epochs",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("reason", Text, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String(128), primary_key=True),
    Column("pool", String(64), nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False, index=True),
    _count("finished"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("name", String(128), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    sqlite_autoincrement=True,
)

sessions = Table(
    "sessions",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("token_id", Key, ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_sessions_token", "token_id", "created_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    _words("target"),
    Column("request_id", String(128), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
