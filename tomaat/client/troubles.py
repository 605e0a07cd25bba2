"""The errors of what goes wrong between this client and a server, each with what to type."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy

from tomaat.client.errors import (
    ClientError,
    Failed,
    GivenUp,
    NotAllowed,
    NotFound,
    NotReady,
    Refused,
    Unreachable,
    Unusable,
)

LATER = {408, 425, 429}  #: and all from 500 on: the same request may succeed
KINDS: dict[int, type[ClientError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    407: NotAllowed,
    409: Failed,
    410: NotFound,
}
NO_RESULT: dict[str, type[ClientError]] = {"not-ready": NotReady, "cancelled": GivenUp}
NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
SPEAKS_TLS = ("HTTPS", "SSL")  #: in the page with which an https server refuses http
ALERT = "\x15\x03"  #: the first bytes of TLS's own refusal
KEY_HEADER = "X-API-Key"
GIVEN = "--url or TOMAAT_URL gives the address."
ADDRESS = f"Is the address right, and does the server run? {GIVEN}"
NO_KEY = (
    "Put your API key into TOMAAT_KEY, or into a file and add --key-file FILE (in Python: Client(url, key=…)). The "
    "server's operator makes keys."
)
OTHER_KEY = "Look at TOMAAT_KEY, or at the file of --key-file: is it this server's key, and whole?"
LOG_IN = "write the proxy's name and password into it, http://name:password@proxy:port."
REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")  #: of https through a proxy, as http.client says it
PASSWORD = "It asks for a name and a password: write them into the address, https://name:password@host."  # noqa: S105
OWN_AUTHORITY = "Where the certificate is of an authority of your own, name its file: REQUESTS_CA_BUNDLE=authority.pem."


def untrusted(url: str, error: BaseException) -> ClientError:
    """Make the error of a server whose https fails."""
    cause = cause_of(error)
    there = url.replace("https://", "http://", 1)
    if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in NO_TLS:
        return Unusable(f"{url} does not speak https.", remedy=f"Write {there}, by --url or TOMAAT_URL.")
    if hung_up(error):
        remedy = f"If it does not speak https, write {there}, by --url or TOMAAT_URL."
        return Unreachable(f"{url} hung up when https began.", remedy=remedy)
    return Unreachable(f"{url} cannot be trusted: {reason_of(error)}.", remedy=OWN_AUTHORITY)


def hung_up(error: BaseException) -> bool:
    """Tell whether the other side ended a connection without a word of TLS, as a proxy does that is restarted."""
    return isinstance(cause_of(error), ssl.SSLEOFError)


def silent(url: str, error: BaseException, *, answered: bool) -> ClientError:
    """Make the error of a server that does not answer, or of a proxy before it; it may have ``answered`` before."""
    if isinstance(error, requests.exceptions.ProxyError):
        proxy, where = proxy_of(url)
        go_around = f"unset it, or go around it by NO_PROXY={urlsplit(url).hostname}"
        refused = REFUSED_TUNNEL.search(str(error))
        if refused and int(refused[1]) == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return NotAllowed(f"The proxy {proxy} wants a name and a password.", remedy=f"{where}: {LOG_IN}")
        if refused:
            return Unreachable(f"The proxy {proxy} answers {refused[1]} instead.", remedy=f"{where}: {go_around}.")
        return Unreachable(f"The proxy {proxy} does not answer: {reason_of(error)}.", remedy=f"{where}: {go_around}.")
    cause = cause_of(error)
    if isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected) and ALERT in str(cause):
        return speaks_https(url)
    remedy = "" if answered else ADDRESS
    if not answered and url.startswith("http://") and isinstance(cause, (RemoteDisconnected, ConnectionResetError)):
        remedy = f"If it speaks https, write {url.replace('http://', 'https://', 1)}, by --url or TOMAAT_URL."
    return Unreachable(f"{url} does not answer: {reason_of(error)}.", remedy=remedy)


def speaks_https(url: str) -> Unusable:
    """Make the error of an https server that was asked by http."""
    there = url.replace("http://", "https://", 1)
    return Unusable(f"{url} speaks https only.", remedy=f"Write {there}, by --url or TOMAAT_URL.")


def proxy_of(url: str) -> tuple[str, str]:
    """Name the proxy through which a server is asked, without its password, and what names it."""
    proxy = select_proxy(url, get_environ_proxies(url)) or ""
    names = sorted(name for name, value in os.environ.items() if name.lower().endswith("_proxy") and value == proxy)
    shown = proxy.rpartition("@")[2].rpartition("//")[2]
    return shown or "of this system", f"{' and '.join(names)} names it" if names else "The system's settings name it"


def trouble_of(url: str, answer: requests.Response) -> ClientError:
    """Make the error that an answer stands for, with the sentences of its problem details."""
    status = answer.status_code
    if status < HTTPStatus.BAD_REQUEST:
        there = urlsplit(answer.headers.get("Location", ""))  # without its path, which may hold a token
        where = f"{there.scheme}://{there.netloc.rpartition('@')[2]}" if there.netloc else "another path"
        return Unusable(f"{url} sends its clients to {where}; give the address that it means.", remedy=GIVEN)
    try:
        problem = answer.json()
    except (ValueError, requests.RequestException):
        problem = None
        if status == HTTPStatus.BAD_REQUEST and url.startswith("http://") and _is_told_in(answer, *SPEAKS_TLS):
            return speaks_https(url)
    finally:
        answer.close()
    if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
        problem = {"status": status, "detail": f"{url} answered {status} {answer.reason}."}
    kind = KINDS.get(status, Refused)
    if status in LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = Unreachable
    elif status == HTTPStatus.CONFLICT:
        kind = NO_RESULT.get(slug_of(problem), Failed)
    return kind(problem["detail"], problem, remedy=_remedy_of(url, answer))


def _is_told_in(answer: requests.Response, *words: str) -> bool:
    try:
        return any(word in answer.text for word in words)
    except requests.RequestException:
        return False


def _remedy_of(url: str, answer: requests.Response) -> str:
    """Say what to type where an answer wants to know who asks."""
    if answer.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return f"{proxy_of(url)[1]}: {LOG_IN}"
    if answer.status_code != HTTPStatus.UNAUTHORIZED:
        return ""
    if answer.headers.get("WWW-Authenticate", "").lower().startswith("basic"):
        return PASSWORD
    return OTHER_KEY if KEY_HEADER in answer.request.headers else NO_KEY


def slug_of(problem: Mapping[str, Any]) -> str:
    """Return a problem's name."""
    return str(problem.get("type", "")).rpartition("/")[2]


def reason_of(error: BaseException) -> str:
    """Say why a request broke without its address, which may hold a token."""
    if isinstance(error, requests.Timeout):
        return "nothing came in time"
    cause = cause_of(error)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) if isinstance(cause, HTTPException) else type(cause).__name__


def cause_of(error: BaseException) -> BaseException:
    """Find the error at the beginning of a request's error."""
    for _ in range(10):
        told = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((one for one in told if isinstance(one, Exception)), None)
        if inner is None and isinstance(error.__context__, (OSError, HTTPException)):
            inner = error.__context__
        if inner is None:
            break
        error = inner
    return error
