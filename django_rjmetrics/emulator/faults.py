"""What can go wrong on purpose: which requests a fault hits, and what it does to them."""

from __future__ import annotations

from random import Random
from threading import Lock
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .messages import HTML, JSON, Reply, Request, RequestError, code_reply, phrase

HOLD = 60.0

KEYS = {
    "status": "answer with this status, 200 to 599",
    "body": "answer with this body: a text, or any other JSON as JSON",
    "html": "answer with a page of HTML, or with `body` as HTML",
    "headers": "an object of headers to add to the reply",
    "retry_after": "a Retry-After header: seconds or an HTTP date",
    "latency": "wait so many seconds before anything else",
    "reset": 'reset the connection "before" or "after" the data is stored',
    "stall": "never answer; close when the client does, or after so many seconds",
    "late": f"stall, {HOLD:.0f} seconds unless `stall` is given, and store the data so many seconds later",
    "trickle": "send the reply byte by byte, one every so many seconds",
    "trickle_for": f"how many seconds the trickling lasts ({HOLD:.0f}); then the rest is sent at once",
    "store": "true: store the data, though `stall` or a reply of the fault's own hides it",
    "call": 'which calls: "data" (the default), "authenticate" or "any"',
    "when": 'only "production" or only "sandbox"',
    "table": "only this table",
    "contains": "only a body with this text in it, as it is sent",
    "times": "hit so many requests, then no more",
    "share": "hit this share of the requests, 0 to 1, at random",
    "seed": "the seed of that randomness, a whole number",
}

Status = Annotated[int, Meta(ge=200, le=599)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Header = Annotated[str, Meta(pattern=r"\A[ -~]*\Z")]


class Fault(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """One fault: what it does, and which requests it hits. ``KEYS`` says what each field is for.

    The stages come in this order: ``latency``; ``reset`` "before"; the normal handling, unless the fault
    answers itself and ``store`` is not set; ``reset`` "after", ``stall`` or ``late``; the reply.
    """

    status: Status | None = None
    body: Any = msgspec.UNSET
    html: bool = False
    headers: dict[Header, Header] = {}
    retry_after: Annotated[int, Meta(ge=0)] | Header | None = None
    latency: Seconds = 0
    reset: Literal["before", "after"] | None = None
    stall: Seconds | None = None
    late: Seconds | None = None
    trickle: Seconds | None = None
    trickle_for: Seconds = HOLD
    store: bool = False
    call: Literal["data", "authenticate", "any"] = "data"
    when: Literal["production", "sandbox"] | None = None
    table: str | None = None
    contains: str | None = None
    times: Annotated[int, Meta(ge=1)] | None = None
    share: Annotated[float, Meta(ge=0, le=1)] = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        endings = {
            "reset": self.reset is not None,
            "stall or late": self.stall is not None or self.late is not None,
            "a reply (status, body, html, headers, retry_after, trickle)": bool(
                self.answers or self.headers or self.retry_after is not None or self.trickle is not None
            ),
        }
        if sum(endings.values()) > 1:
            raise ValueError(f"only one of these goes: {'; '.join(endings)}")
        if not self.latency and not any(endings.values()):
            raise ValueError(f"it does nothing; give latency or one of: {'; '.join(endings)}")

    @property
    def answers(self) -> bool:
        """Whether the reply is this fault's own rather than the API's."""
        return self.status is not None or self.body is not msgspec.UNSET or self.html

    def hits(self, request: Request) -> bool:
        """Return whether the filters let ``request`` through."""
        call = request.call
        if call is None or call.kind == "status" or request.method != call.method:
            return False
        return (
            self.call in (call.kind, "any")
            and self.when in (None, "sandbox" if call.sandbox else "production")
            and self.table in (None, call.table)
            and (self.contains is None or self.contains.encode() in (request.body or b""))
        )

    def reply(self, normal: Reply | None) -> Reply:
        """Return the reply under this fault; ``normal`` is the API's, needed when the fault has none."""
        if self.answers or normal is None:
            normal = self._own_reply(self.status or 200)
        extra = dict(self.headers)
        if self.retry_after is not None:
            extra["Retry-After"] = str(self.retry_after)
        return Reply(normal.status, normal.body, normal.content_type, {**normal.headers, **extra})

    def _own_reply(self, status: int) -> Reply:
        title = f"{status} {phrase(status).title()}"
        if self.body is msgspec.UNSET:
            if self.html:
                page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
                return Reply(status, page.encode(), HTML)
            if status < 400:
                return code_reply(status, phrase(status))
            return RequestError(status, phrase(status), ["a fault that was set on the emulator"]).reply()
        if isinstance(self.body, str):
            return Reply(status, self.body.encode(), HTML if self.html else "text/plain; charset=utf-8")
        return Reply(status, msgspec.json.encode(self.body), HTML if self.html else JSON)


class _Armed:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.fired = 0
        self._random = Random(fault.seed)  # noqa: S311

    def fires(self, request: Request) -> bool:
        fault = self.fault
        if self.fired == fault.times or not fault.hits(request) or self._random.random() >= fault.share:
            return False
        self.fired += 1
        return True


class FaultSet:
    """The faults that are set; the first that fires for a request is the one it gets."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._armed: list[_Armed] = []

    def set(self, faults: object) -> None:
        """Replace the faults: one, or a list; each a Fault or a dict of its keys. Raises ValueError."""
        faults = faults if isinstance(faults, list | tuple) else [faults]
        try:
            armed = [_Armed(msgspec.convert(fault, Fault)) for fault in faults]
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        with self._lock:
            self._armed = armed

    def take(self, request: Request) -> Fault | None:
        """Return the fault that ``request`` gets, and count it as fired."""
        with self._lock:
            return next((armed.fault for armed in self._armed if armed.fires(request)), None)

    def as_list(self) -> list[dict[str, Any]]:
        """Return the faults as they were set, each with how often it ``fired``."""
        with self._lock:
            return [{**msgspec.to_builtins(armed.fault), "fired": armed.fired} for armed in self._armed]
