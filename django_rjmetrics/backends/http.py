"""Sends batches to the Data Import API v2."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from django.core.exceptions import ImproperlyConfigured

from ..conf import settings
from ..exceptions import (
    Ambiguous,
    CredentialsRefused,
    DeliveryError,
    Refused,
    ServerError,
    Unavailable,
)
from ..retry import parse_retry_after
from .base import BaseBackend, Batch
from .wire import PLACEHOLDER, DeadlineExceeded, Wire, WireAdapter

EXCERPT = 300
LONGEST_REPLY = 65_536
NOT_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)
GATEWAY_TROUBLE = frozenset({502, 504})


def url_problem(url: Any) -> str | None:
    """What is wrong with an API URL, as a sentence, or None. Plain http is for loopback or ALLOW_HTTP only."""
    if not isinstance(url, str):
        return f"is a {type(url).__name__}, not a URL."
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an http(s) URL."
    if parts.query or parts.fragment or parts.username or parts.password:
        return "must be a bare address, without a query, a fragment or a user."
    if parts.scheme == "http" and not settings.ALLOW_HTTP and not _loopback(parts.hostname):
        return "is plain http, which would show the API key to the network: use https, or set ALLOW_HTTP."
    return None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Backend(BaseBackend):
    """One session for a run; each call ends within TIMEOUT seconds in all, redirects are not followed."""

    def open(self) -> None:
        """Check the settings and make the session; ImproperlyConfigured names the setting that is wrong."""
        name = "SANDBOX_URL" if self.sandbox else "API_URL"
        base = getattr(settings, name)
        if problem := url_problem(base):
            raise ImproperlyConfigured(f"RJMETRICS[{name!r}] {problem}")
        client_id = settings.CLIENT_ID
        if not isinstance(client_id, int) or client_id < 1:
            raise ImproperlyConfigured("RJMETRICS['CLIENT_ID'] must be your positive client id.")
        if not isinstance(settings.API_KEY, str) or not settings.API_KEY.strip():
            raise ImproperlyConfigured("RJMETRICS['API_KEY'] must be your Data Import API key.")
        self._client = f"{base.rstrip('/')}/client/{client_id}"
        self._wire = Wire(settings.API_KEY.strip())
        self._session = self.create_session()
        self._session.mount(base, WireAdapter(self._wire, settings.CONCURRENCY))

    def create_session(self) -> requests.Session:
        """The session to send with; override it for a proxy, a client certificate or another CA."""
        return requests.Session()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._wire.close()

    def upsert(self, table: str, batch: Batch) -> None:
        """POST the batch; raises a DeliveryError that says what the API made of it."""
        status, headers, reply = self._call("POST", f"table/{table}/data", batch.deadline, batch.body)
        if status in {200, 201} and not _is_html(headers, reply):
            return
        raise _error(status, headers, reply, f"table {table}, {len(batch)} data points")

    def authenticate(self) -> None:
        """Ask the API whether the client id and the key are valid."""
        status, headers, reply = self._call("GET", "authenticate", time.monotonic() + settings.TIMEOUT)
        if status != 200 or _is_html(headers, reply):
            raise _error(status, headers, reply, "checking the credentials")

    def _call(self, method: str, path: str, deadline: float, body: bytes | None = None) -> tuple[int, Any, bytes]:
        failure: DeliveryError
        try:
            with self._wire.deadline(min(deadline, time.monotonic() + settings.TIMEOUT)):
                response = self._session.request(
                    method,
                    f"{self._client}/{path}?apikey={PLACEHOLDER}",
                    data=body,
                    headers={"Content-Type": "application/json"},
                    timeout=settings.TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                )
                try:
                    reply = response.raw.read(LONGEST_REPLY, decode_content=True)
                finally:
                    response.close()
                return response.status_code, response.headers, self._wire.without_key(reply)
        except Exception as error:  # noqa: BLE001 - urllib3's own come through a streamed read
            failure = _failure(error)
        # Raised out here, so that the exception of requests doesn't hang on to it.
        raise failure


def _failure(error: Exception) -> DeliveryError:
    """What an exception of requests or urllib3 comes to; whatever may have left the machine is ambiguous."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DeadlineExceeded):
            return Unavailable(str(cause))
        if isinstance(cause, NOT_CONNECTED):
            return Unavailable(f"the API can't be reached ({type(cause).__name__})")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)):
        return Ambiguous("no answer within the timeout")
    return Ambiguous(f"the connection broke before an answer came ({type(error).__name__})")


def _is_html(headers: Any, reply: bytes) -> bool:
    return "html" in headers.get("Content-Type", "").lower() or reply.lstrip()[:1] == b"<"


def _error(status: int, headers: Any, reply: bytes, what: str) -> DeliveryError:
    message, reasons = _reasons(headers, reply)
    text = f"the API answered {status}{': ' + message if message else ''} ({what})"
    retry_after = parse_retry_after(headers.get("Retry-After"), dt.datetime.now(dt.timezone.utc))
    kind: type[DeliveryError]
    if status in {400, 413}:
        kind = Refused
    elif status in {401, 404} or 300 <= status < 400:
        kind = CredentialsRefused
        text += "; check CLIENT_ID, API_KEY and API_URL"
    elif status in {429, 503}:
        kind = Unavailable
    elif status in GATEWAY_TROUBLE:
        kind = Ambiguous
    else:
        kind = ServerError
    return kind(text, status=status, reasons=reasons, retry_after=retry_after)


def _reasons(headers: Any, reply: bytes) -> tuple[str, tuple[str, ...]]:
    """The message and the reasons of an error reply, clipped; of one that isn't JSON, what it looks like."""
    if not reply.strip():
        return "an empty reply", ()
    if _is_html(headers, reply):
        return "an HTML page, not the API's reply", ()
    try:
        found = requests.compat.json.loads(reply)  # type: ignore[attr-defined]
        message, reasons = found.get("message", ""), found.get("reasons") or ()
    except (ValueError, AttributeError):
        return "a reply that isn't the API's", ()
    if isinstance(reasons, str):
        reasons = [reasons]
    return str(message)[:EXCERPT], tuple(str(reason)[:EXCERPT] for reason in list(reasons)[:5])
