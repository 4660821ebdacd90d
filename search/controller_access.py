"""How a controller is reached: its address and a token as people give them, and what went wrong.

Shared by the command line and the worker. Nothing here speaks HTTP: a failure is read from the
causes that an HTTP client's error carries.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from brainformer.search.errors import InvalidInput

LONGEST_TOKEN = 512
TOKEN = re.compile(r"[!-~]{1,512}")


def controller_url(given: str) -> str:
    """Returns the address without spaces around it and slashes behind it.

    Raises:
        InvalidInput: it is not http://HOST or https://HOST, with a port and a path or without.
    """
    url = given.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname)
        whole = whole and not (parts.query or parts.fragment or parts.username)
        _ = parts.port
    except ValueError:
        whole = False
    if not whole or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise InvalidInput("a controller's address is http://HOST:PORT or https://HOST", given)
    return url


def bearer_token(given: str | None, where: str) -> str | None:
    """Returns the token without the spaces and newlines that files and variables come with.

    Args:
        given: The token; spaces alone are not a token.
        where: What it was given by, for the message, which never repeats it.

    Raises:
        InvalidInput: it cannot be a token.
    """
    token = (given or "").strip()
    if not token:
        return None
    if TOKEN.fullmatch(token) is None:
        raise InvalidInput(
            f"what {where} holds cannot be a token: one has up to {LONGEST_TOKEN} visible ASCII "
            "characters"
        )
    return token


def is_loopback(url: str) -> bool:
    """Returns whether the address is this machine's own, which no proxy is asked for."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_unreachable(error: BaseException, url: str) -> str:
    """Returns in one sentence why there was no answer, and what to do.

    Args:
        error: As the HTTP client raised it, with its causes.
        url: Whom it was to reach.
    """
    proxy = proxy_for(url)
    via = f" (asked through the proxy {proxy})" if proxy else ""
    for cause in _causes(error):
        if proxy and isinstance(cause, ConnectionRefusedError | socket.gaierror):
            return (
                f"the proxy {proxy}, which HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names, does not "
                "answer; name the controller's host in NO_PROXY to go without one"
            )
        told = _told(cause, url)
        if told:
            return told + via
    name = type(error).__name__
    if "Timeout" in name:
        return f"no answer in time; the network or the controller is too slow, or down{via}"
    if "RemoteProtocol" in name:
        return _other_language(url) + via
    words = str(error).strip().splitlines() or [name]
    return words[0] + via


def unusable_environment(error: BaseException) -> str:
    """Returns what is wrong with the proxies or certificates that the environment names."""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, OSError):  # an ssl.SSLError is one
        return f"no certificates can be read from what SSL_CERT_FILE or SSL_CERT_DIR names: {words}"
    return f"what HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used: {words}"


def _told(cause: BaseException, url: str) -> str:
    host = urlsplit(url).hostname
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {cause.verify_message}; name the file of your "
            "authority's certificates in SSL_CERT_FILE"
        )
    if isinstance(cause, ssl.SSLError):
        why = (cause.reason or "no TLS").lower().replace("_", " ")
        return f"TLS failed: {why}; is it http:// rather than https://?"
    if isinstance(cause, socket.gaierror):
        return f"no address is known for the name {host!r}; check its spelling and the DNS"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there; start it with 'brainformer serve', or give --url"
    if isinstance(cause, OSError) and cause.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return "there is no route to it from this machine"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return _other_language(url)
    return ""


def _other_language(url: str) -> str:
    scheme = urlsplit(url).scheme
    other = "http" if scheme == "https" else "https"
    return f"what listens there gives no answer in {scheme}; try {other}:// if it speaks that"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error's causes, the deepest first."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        if isinstance(one, BaseExceptionGroup):
            found += one.exceptions
        one = one.__cause__ or one.__context__
    yield from reversed(found)


def proxy_for(url: str) -> str:
    """Returns the proxy that the environment names for an address, without its password."""
    parts = urlsplit(url)
    if is_loopback(url) or not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all") or ""
    return re.sub(r"//[^@/]*@", "//", named)
