"""What travels between the socket and the answers: requests, replies, and the Import API's paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote

import msgspec

JSON = "application/json"
HTML = "text/html; charset=utf-8"

_STATUS = re.compile(r"/?|(?P<sandbox>/sandbox)?/v2/?")
_CLIENT = re.compile(
    r"(?P<sandbox>/sandbox)?/v2/client/(?P<client>[^/]+)/(?:authenticate|table/(?P<table>[^/]*)/data)/?"
)


@dataclass(frozen=True)
class Call:
    """One call of the Import API, as its path says it; nothing in it is checked yet."""

    kind: Literal["status", "authenticate", "data"]
    sandbox: bool = False
    client: str = ""
    table: str = ""

    @property
    def method(self) -> str:
        """The one method that this call takes."""
        return "POST" if self.kind == "data" else "GET"


def route(path: str) -> Call | None:
    """Return the Import API call at ``path`` (still percent-encoded), or None when there is none."""
    if match := _CLIENT.fullmatch(path):
        table = match["table"]
        kind: Literal["authenticate", "data"] = "authenticate" if table is None else "data"
        return Call(kind, bool(match["sandbox"]), unquote(match["client"]), unquote(table or ""))
    if match := _STATUS.fullmatch(path):
        return Call("status", bool(match["sandbox"]))
    return None


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``body`` is None when it was larger than the emulator keeps."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: bytes | None
    call: Call | None

    @property
    def is_data(self) -> bool:
        """Whether this pushes data points."""
        return self.call is not None and self.call.kind == "data" and self.method == "POST"


@dataclass(frozen=True)
class Reply:
    """One HTTP reply; a body that is an iterator is streamed."""

    status: int
    body: bytes | Iterator[bytes]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class RequestError(Exception):
    """A request that is answered with an error: its status, a message and the reasons."""

    def __init__(self, status: int, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reasons = list(reasons)

    def reply(self, headers: Mapping[str, str] | None = None) -> Reply:
        """Return this refusal in the API's shape."""
        body = {"code": self.status, "message": self.message, "reasons": self.reasons}
        return json_reply(body, self.status, headers)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with ``value`` as its JSON body."""
    return Reply(status, msgspec.json.encode(value), headers=headers or {})


def code_reply(status: int, message: str) -> Reply:
    """Return a reply in the API's shape for success."""
    return json_reply({"code": status, "message": message}, status)


def phrase(status: int) -> str:
    """Return the usual words for a status, in lower case."""
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "unknown status"
