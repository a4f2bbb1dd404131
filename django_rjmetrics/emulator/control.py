"""What lies under /_emulator: the pages for people, the JSON for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from . import pages
from .faults import KEYS
from .messages import HTML, Reply, Request, RequestError, json_reply
from .store import Arrival

if TYPE_CHECKING:
    from .app import App

PREFIX = "/_emulator"
_CHUNK = 500
_MAX_INTEGER = 2**63 - 1


def owns(path: str) -> bool:
    """Return whether ``path`` is answered here."""
    return path == PREFIX or path.startswith(PREFIX + "/")


def respond(app: App, request: Request) -> Reply:
    """Return the answer to a request under /_emulator; raises RequestError when there is none."""
    name, _, table = request.path[len(PREFIX) :].strip("/").partition("/")
    name = "tables/" if table and name == "tables" else name
    methods = _ROUTES.get(name)
    if methods is None or (table and name != "tables/"):
        raise RequestError(404, "not found", [f"under {PREFIX}/ there are: {', '.join(filter(None, _ROUTES))}"])
    answer = methods.get("GET" if request.method == "HEAD" else request.method)
    if answer is None:
        raise RequestError(405, "method not allowed", [f"this path takes {' or '.join(methods)}"])
    return answer(app, request)


def _page(app: App, request: Request) -> Reply:
    tables = app.store.tables()
    table = request.query.get("table")
    if table is None:
        status, text = 200, pages.overview(tables, app.stats.as_dict(), app.faults.as_list())
    elif table not in tables:
        status, text = 404, pages.unknown_table(table, tables)
    else:
        number = pages.page_number(request.query.get("page", "1"), tables[table])
        rows = app.store.rows(table, pages.PAGE_SIZE, (number - 1) * pages.PAGE_SIZE)
        status, text = 200, pages.table(table, tables, number, rows)
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "Cache-Control": "no-store",
    }
    return Reply(status, text.encode(errors="replace"), HTML, headers)


def _tables(app: App, request: Request) -> Reply:
    return json_reply(app.store.tables())


def _rows(app: App, request: Request) -> Reply:
    table = request.path[len(PREFIX) :].strip("/").partition("/")[2]
    if table not in app.store.tables():
        raise RequestError(404, "not found", [f"there is no table {table!r}"])
    limit = None if "limit" not in request.query else _integer(request, "limit")
    return _json_array(app.store.rows(table, limit, _integer(request, "offset")))


def _arrivals(app: App, request: Request) -> Reply:
    if not app.store.record_arrivals:
        raise RequestError(
            404, "not found", ["arrivals are not recorded; start the emulator with --record-arrivals"]
        )
    return _json_array(map(_arrival_json, app.store.arrivals(_integer(request, "since"))))


def _arrival_json(arrival: Arrival) -> str:
    head = f'{{"seq":{arrival.seq},"request":{arrival.request},"table":"{arrival.table}"'
    return f'{head},"key":{arrival.key},"row":{arrival.row}}}'


def _stats(app: App, request: Request) -> Reply:
    return json_reply(app.stats.as_dict())


def _faults(app: App, request: Request) -> Reply:
    return json_reply(app.faults.as_list())


def _set_faults(app: App, request: Request) -> Reply:
    try:
        faults = msgspec.json.decode(request.body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, "invalid JSON", [str(error)]) from None
    try:
        app.faults.set(faults)
    except ValueError as error:
        raise RequestError(
            400, "invalid fault", [str(error), *(f"{key}: {text}" for key, text in KEYS.items())]
        ) from None
    return json_reply(app.faults.as_list())


def _reset(app: App, request: Request) -> Reply:
    app.reset()
    return json_reply({"code": 200, "message": "reset"})


_ROUTES: dict[str, dict[str, Callable[[App, Request], Reply]]] = {
    "": {"GET": _page},
    "tables": {"GET": _tables},
    "tables/": {"GET": _rows},
    "stats": {"GET": _stats},
    "arrivals": {"GET": _arrivals},
    "faults": {"GET": _faults, "POST": _set_faults},
    "reset": {"POST": _reset},
}


def _integer(request: Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_INTEGER):
        raise RequestError(400, "invalid parameter", [f"{name} must be a whole number, 0 or more"])
    return int(text)


def _json_array(texts: Iterable[str]) -> Reply:
    return Reply(200, _chunks(iter(texts)))


def _chunks(texts: Iterator[str]) -> Iterator[bytes]:
    yield b"["
    start = ""
    for text in texts:
        yield (start + ",".join([text, *islice(texts, _CHUNK)])).encode()
        start = ","
    yield b"]"
