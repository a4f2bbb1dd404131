"""The emulator as one object: start it, push to it, ask it what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from os import PathLike, fspath
from types import TracebackType
from typing import Any

from .app import App
from .server import Server
from .store import Store


class Emulator:
    """The Data Import API v2 on this machine, served by daemon threads.

    Use it as a context manager, or call :meth:`start`, :meth:`stop` and :meth:`close`. ``port`` 0 takes a
    free port; ``database`` names a SQLite file, None keeps everything in memory. Raises sqlite3.Error or
    ValueError when the database can't be used.
    """

    def __init__(
        self,
        client_id: int = 1,
        api_key: str = "emulator",
        database: str | PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        record_arrivals: bool = False,
    ) -> None:
        self.client_id = client_id
        self.host = host
        self.port = port
        self._store = Store(None if database is None else fspath(database), record_arrivals=record_arrivals)
        self._app = App(client_id, api_key, self._store)
        self._server: Server | None = None

    def __repr__(self) -> str:
        return f"<Emulator at {self.url}>"

    def start(self) -> None:
        """Listen and serve. After :meth:`stop` it comes back at the same port, with the same tables.

        Raises OSError when the address can't be listened at.
        """
        if self._server is not None:
            raise RuntimeError("The emulator is already started.")
        self._server = Server(self.host, self.port, self._app)
        self.port = self._server.server_address[1]
        self._server.start()

    def stop(self) -> None:
        """Close the listening socket and every connection; what was stored stays."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        """Stop, and close the database: what was in memory is gone."""
        self.stop()
        self._store.close()

    def __enter__(self) -> Emulator:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address, as ``http://127.0.0.1:43211``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def api_url(self) -> str:
        """What RJMETRICS["API_URL"] is set to."""
        return f"{self.url}/v2"

    @property
    def sandbox_url(self) -> str:
        """What RJMETRICS["SANDBOX_URL"] is set to."""
        return f"{self.url}/sandbox/v2"

    def tables(self) -> dict[str, int]:
        """Return how many rows each table has, by name."""
        return self._store.tables()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows in the order of their first arrival; none for a table never pushed to.

        A number with a fraction or an exponent is a Decimal, exactly as it was sent.
        """
        return [json.loads(row, parse_float=Decimal) for row in self._store.rows(table)]

    def stats(self) -> dict[str, Any]:
        """Return the counts of data pushes: requests, data_points, statuses, and the sandbox's."""
        return self._app.stats.as_dict()

    def arrivals(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the stored data points numbered above ``since``, in the order they were stored.

        Each has seq, request, table, key and row. Only the last 100,000 are kept. Raises RuntimeError unless
        the emulator was made with ``record_arrivals=True``.
        """
        if not self._store.record_arrivals:
            raise RuntimeError("Arrivals are only recorded with record_arrivals=True.")
        return [
            {
                "seq": arrival.seq,
                "request": arrival.request,
                "table": arrival.table,
                "key": json.loads(arrival.key, parse_float=Decimal),
                "row": json.loads(arrival.row, parse_float=Decimal),
            }
            for arrival in self._store.arrivals(since)
        ]

    def set_faults(self, faults: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Replace the faults; their keys are those of :class:`~.faults.Fault`. Raises ValueError."""
        self._app.faults.set(faults)

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are set, each with how often it ``fired``."""
        return self._app.faults.as_list()

    def reset(self) -> None:
        """Empty the tables, the counts and the faults."""
        self._app.reset()
