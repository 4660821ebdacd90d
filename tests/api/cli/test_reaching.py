"""How a controller is reached, and the one sentence when it is not: for command line and worker."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from brainformer.api.cli.terminal.controller_client import ControllerClient
from brainformer.search.controller_access import bearer_token
from brainformer.search.errors import ControllerUnreachable, InvalidInput
from brainformer.worker.slot.controller_client import LeaseClient
from tests.repository import REPOSITORY

CERTIFICATES = REPOSITORY / "tests" / "certificates"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy")
ANSWER = b'{"items": [], "name": "me", "scopes": ["worker"]}'
Ask = Callable[[str], None]


def by_command_line(url: str, token: str | None = None) -> None:
    ControllerClient(url, token).get("/searches")


def by_worker(url: str, token: str | None = None) -> None:
    LeaseClient(url, token).whoami()


@pytest.fixture(params=[by_command_line, by_worker])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def listening(
    *, tls: bool = False, status: int = 200, **headers: str
) -> Iterator[tuple[str, list]]:
    """Yields the URL of a server that answers everything alike, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "server.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def refusal(ask: Ask, url: str) -> str:
    with pytest.raises(ControllerUnreachable) as caught:
        ask(url)
    assert "\n" not in caught.value.message
    return caught.value.message


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_an_authority_of_ones_own_is_trusted_once_it_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(tls=True) as (url, asked):
        told = refusal(ask, url)
        assert "its certificate is not trusted" in told
        assert "SSL_CERT_FILE" in told
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
        ask(url)
        assert len(asked) == 1


def test_certificates_that_cannot_be_read_are_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert "SSL_CERT_FILE or SSL_CERT_DIR" in refusal(ask, "https://127.0.0.1:1")


def test_http_and_https_are_told_apart(ask: Ask) -> None:
    with listening() as (url, _):
        assert "is it http:// rather than https://?" in refusal(ask, url.replace("http", "https"))
    with listening(tls=True) as (url, _):
        assert "try https://" in refusal(ask, url.replace("https", "http"))


def test_a_proxy_is_asked_as_the_environment_says(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        ask("http://controller.example:8700")
    assert asked[0].startswith("http://controller.example:8700/api/v1/")


def test_this_machine_is_never_asked_through_a_proxy(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    with listening() as (url, asked):
        ask(url)
        ask(url.replace("127.0.0.1", "localhost"))
    assert len(asked) == 2


def test_a_proxy_that_is_away_is_named_without_its_password(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{closed_port()}"
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://ann:hush@{address}")
    told = refusal(ask, "http://controller.example")
    assert f"the proxy http://{address}" in told
    assert "NO_PROXY" in told
    assert "hush" not in told


def test_a_proxy_of_a_kind_that_is_not_spoken_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy")
    assert "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY" in refusal(ask, "http://controller.example")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nobody.invalid", "no address is known for the name 'nobody.invalid'"),
        ("https://nobody.invalid/brainformer/", "no address is known"),
    ],
)
def test_an_unknown_name_is_told(ask: Ask, url: str, words: str) -> None:
    assert words in refusal(ask, url)


def test_a_port_where_nothing_listens_says_how_to_start(ask: Ask) -> None:
    assert "brainformer serve" in refusal(ask, f"http://127.0.0.1:{closed_port()}")


def test_what_speaks_something_else_is_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
                connection.recv(1)

        threading.Thread(target=greet, daemon=True).start()
        told = refusal(by_command_line, f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert "gives no answer in http;" in told


def test_a_redirection_is_named() -> None:
    with listening(status=301, Location="https://search.example/api/v1/searches") as (url, _):
        assert "it sends callers on to https://search.example" in refusal(by_command_line, url)


@pytest.mark.parametrize(
    "url",
    ["", "controller", "ftp://controller", "http://", "http://[::1", "http://a b", "http://a:x",
     "http://ann:hush@a", "http://a/?b=c", "http://a\n"[:-1] + "\x1b"],
)  # fmt: skip
def test_what_is_no_address_is_refused(ask: Ask, url: str) -> None:
    with pytest.raises(InvalidInput, match="a controller's address is"):
        ask(url)


@pytest.mark.parametrize("token", ["bf_hush\n", "  bf_hush\r\n", "bf_hush\t"])
def test_spaces_around_a_token_are_no_part_of_it(ask: Ask, token: str) -> None:
    with listening() as (url, asked):
        ask(url, token)
    assert len(asked) == 1
    assert bearer_token(token, "x") == "bf_hush"


@pytest.mark.parametrize("token", ["bf_hush hush", "bf_hush\nX-Evil: 1", "bf_hüsh", "bf_hush" * 99])
def test_what_is_no_token_is_refused_and_not_repeated(ask: Ask, token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask("http://127.0.0.1:1", token)
    assert "hush" not in caught.value.message
    assert "visible ASCII" in caught.value.message
