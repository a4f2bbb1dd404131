"""The tables, in SQLite: in memory or in a file, by the same code."""

from __future__ import annotations

import sqlite3
import sys
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, count, islice
from threading import Lock
from typing import NamedTuple, TypeAlias

APPLICATION_ID = 0x524A4D45  # marks a database file as ours
ARRIVALS_KEPT = 100_000
PAGE = 2_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (table_name, key)
);
CREATE INDEX IF NOT EXISTS points_in_order ON points (table_name);
"""
_PAGE = "SELECT id, body FROM points WHERE table_name = ? AND id > ? ORDER BY id LIMIT ? OFFSET ?"


# A data point: its key values as a JSON array, its row as a JSON object. A named tuple costs too much here.
Point: TypeAlias = tuple[str, str]


@cache
def _upsert(points: int) -> str:
    """Return the statement that stores so many points; a statement for each would take twice the time."""
    values = ", ".join(["(?1, ?, ?)"] * points)
    conflict = "ON CONFLICT (table_name, key) DO UPDATE SET body = excluded.body"
    return f"INSERT INTO points (table_name, key, body) VALUES {values} {conflict}"  # noqa: S608


class Arrival(NamedTuple):
    """One stored data point, numbered in the order of storing; those of one request share ``request``."""

    seq: int
    request: int
    table: str
    key: str
    row: str


class Store:
    """Rows by table and key. Every method can be called from any thread.

    ``path`` names a database file, None keeps everything in memory. Raises sqlite3.Error when the file can't
    be used, and ValueError when it is somebody else's database.
    """

    def __init__(self, path: str | None = None, *, record_arrivals: bool = False) -> None:
        if path == "":  # to SQLite, a file that is gone with the process
            raise ValueError("its path is empty")
        self._lock = Lock()
        self._db = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False)
        self.close = weakref.finalize(self, self._db.close)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        self.record_arrivals = record_arrivals
        self._arrivals: deque[Arrival] = deque(maxlen=ARRIVALS_KEPT)
        self._seq = count(1)
        self._request = count(1)

    def _prepare(self) -> None:
        (owner,) = self._db.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION_ID:
            if self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise ValueError("it is a database of something else")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def add(self, table: str, points: Sequence[Point]) -> None:
        """Store the points, all or none; one whose key is there replaces that row whole."""
        with self._lock:
            with self._db:
                self._db.execute(_upsert(len(points)), [table, *chain.from_iterable(points)])
            if self.record_arrivals:
                request = next(self._request)
                self._arrivals.extend(Arrival(next(self._seq), request, table, *point) for point in points)

    def tables(self) -> dict[str, int]:
        """Return how many rows each table has, by name."""
        with self._lock:
            counts = self._db.execute("SELECT table_name, COUNT(*) FROM points GROUP BY table_name")
            return dict(counts.fetchall())

    def rows(self, table: str, limit: int | None = None, offset: int = 0) -> Iterator[str]:
        """Yield rows as JSON text, those that arrived first first; none for an unknown table."""
        last = 0
        left = sys.maxsize if limit is None else limit
        while left > 0:
            with self._lock:
                page = self._db.execute(_PAGE, (table, last, min(left, PAGE), offset)).fetchall()
            if not page:
                return
            yield from (body for _, body in page)
            last = page[-1][0]
            left -= len(page)
            offset = 0

    def arrivals(self, since: int = 0) -> list[Arrival]:
        """Return the recorded arrivals numbered above ``since``, of the last ``ARRIVALS_KEPT``."""
        with self._lock:
            first = self._arrivals[0].seq if self._arrivals else 0
            return list(islice(self._arrivals, max(0, since + 1 - first), None))

    def clear(self) -> None:
        """Drop every table. Arrivals go too, but their numbers go on."""
        with self._lock:
            with self._db:
                self._db.execute("DELETE FROM points")
            self._arrivals.clear()
