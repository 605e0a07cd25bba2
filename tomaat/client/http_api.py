"""Requests to one server, each tried again while patience lasts; answers that are no success become errors."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from tomaat.client.errors import ClientError, Unreachable, Unusable
from tomaat.client.patience import Patience
from tomaat.client.troubles import GIVEN, hung_up, reason_of, silent, trouble_of, untrusted

STRANGER_SECONDS = 5.0  #: patience with a server that never answered: its address may be wrong
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Http:
    """One server by its address; not to be shared by threads.

    A name and password in the address (``https://name:password@host``) are for a proxy in front of the server. They
    take the place of the header that else holds a ticket's token, so that the token goes into the path.
    """

    def __init__(
        self, url: str, *, patience_seconds: float, timeout_seconds: float, on_notice: Callable[[str], object]
    ) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname is not None and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            raise Unusable(
                "The server's address begins with http:// or https://, as http://127.0.0.1:5000 does.", remedy=GIVEN
            )
        self.basic: HTTPBasicAuth | None = None
        if parts.username is not None:
            self.basic = HTTPBasicAuth(unquote(parts.username), unquote(parts.password or ""))
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self.patience_seconds = patience_seconds
        self.timeout_seconds = timeout_seconds
        self.on_notice = on_notice
        self.session = requests.Session()
        self.answered = False

    def patience(self) -> Patience:
        """Begin to be patient."""
        seconds = self.patience_seconds if self.answered else min(self.patience_seconds, STRANGER_SECONDS)
        return Patience(seconds, self.on_notice)

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Callable[[], Iterable[bytes]] | None = None,
        longer_seconds: float = 0.0,
        stream: bool = False,
        also: Container[int] = (),
    ) -> requests.Response:
        """Ask until there is an answer of success, or one of the statuses in ``also``.

        ``body`` is called for each try; ``longer_seconds`` is how much longer than usual an answer may take. Raises the
        error that the answer stands for, and ``Unreachable`` when patience ends.
        """
        if token and self.basic:
            path = f"{path}&{token}"
        patience = self.patience()
        while True:
            pause = 0.0
            try:
                answer = self.session.request(
                    method,
                    self.url + path,
                    params=query,
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                    data=None if body is None else body(),
                    auth=_Shown(token, self.basic),
                    timeout=(self.timeout_seconds, self.timeout_seconds + longer_seconds),
                    stream=stream,
                    allow_redirects=False,
                )
            except requests.exceptions.SSLError as error:
                trouble = self._broken_https(error)
            except BROKEN as error:
                trouble = silent(self.url, error, answered=self.answered)
            except requests.RequestException as error:
                raise Unusable(f"{self.url} cannot be asked: {reason_of(error)}.") from None
            else:
                if not self.answered:
                    self.answered = True
                    patience.seconds = self.patience_seconds
                if answer.status_code < HTTPStatus.MULTIPLE_CHOICES or answer.status_code in also:
                    return answer
                trouble = trouble_of(self.url, answer)
                pause = seconds_asked_for(answer)
            if not isinstance(trouble, Unreachable):
                raise trouble
            patience.wait(trouble, at_least_seconds=pause)

    def _broken_https(self, error: requests.exceptions.SSLError) -> ClientError:
        """Give the error of a server that has answered before, and hung up now; raise that of any other."""
        if self.answered and hung_up(error):
            return silent(self.url, error, answered=True)
        raise untrusted(self.url, error) from None

    def ask_json(self, method: str, path: str, **how: Any) -> Any:
        """Ask for JSON; raises ``Unreachable`` where something else is sent."""
        answer = self.ask(method, path, **how)
        try:
            return answer.json()
        except ValueError:
            raise self.stranger() from None

    def stranger(self) -> Unreachable:
        """Make the error of an address where no TOMAAT listens."""
        return Unreachable(f"{self.url} answers, but not as a TOMAAT server does; is the address right?", remedy=GIVEN)


class _Shown(AuthBase):
    """Shows a ticket's token, or a name and password; never those of a ``.netrc``."""

    def __init__(self, token: str, basic: HTTPBasicAuth | None) -> None:
        self.token = token
        self.basic = basic

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.basic is not None:
            return self.basic(request)
        if self.token:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def seconds_asked_for(answer: requests.Response) -> float:
    """Read ``Retry-After`` in seconds; a date, or nothing, counts as 0."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < len("1000000") else 0.0
