"""Structured logs: one line an event, with the request's id, never with a secret."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from typing_extensions import override

request_id: ContextVar[str] = ContextVar("request_id", default="")

# Passwords in database addresses, bearer tokens, session cookies, our own tokens' form.
SECRETS = re.compile(
    r"(?P<url>://[^:/@\s]+:)[^@\s]+(?=@)"
    r"|(?P<header>(?:bearer|cookie:?|brainformer_session=)\s*)[^\s,;\"']+"
    r"|(?P<token>\bbfs?_)[A-Za-z0-9_-]{8,}",
    re.IGNORECASE,
)


# What would end a line, move the cursor or reorder letters: a line must not look like another.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def one_line(text: str) -> str:
    r"""Returns the text with such characters as escapes: a line feed becomes `\n`."""
    return UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def redact(text: str) -> str:
    """Returns `text` with what looks like a secret replaced by three stars."""
    return SECRETS.sub(lambda m: f"{m['url'] or m['header'] or m['token'] or ''}***", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as JSON."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as one line, a traceback below it."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        told = " ".join(f"{name}={one_line(str(value))}" for name, value in _fields(record).items())
        message = one_line(redact(record.getMessage()))
        text = f"{at} {record.levelname.lower():<7} {message} {told}".rstrip()
        if record.exc_info:
            trace = redact(self.formatException(record.exc_info))
            # Indented, so that no line of an error's text looks like one of ours.
            text += "".join(f"\n    {one_line(line)}" for line in trace.split("\n"))
        return text


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is when a record comes, which another part may have replaced."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is None:
            return
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


def set_up_logging(level: str, form: Literal["json", "text"]) -> None:
    """Sends all logs to stderr in one format; uvicorn's own access log is replaced by ours."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"
    for noisy in ("uvicorn.error", "httpx2", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = dict(getattr(record, "fields", {}))
    if request_id.get():
        fields["request_id"] = request_id.get()
    return fields
