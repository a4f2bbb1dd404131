"""The http backend's transport: total deadlines, and an API key that only the socket ever sees.

requests and urllib3 put the URL, and with it the key, into exceptions, debug logs and the hands of tracing
tools. So they are given a URL with a placeholder, and the connection puts the key in its place in the bytes that
it writes. And since their timeouts are per read, a watchdog shuts the socket down when the time for the whole
call is over.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

PLACEHOLDER = "hidden"


class DeadlineExceeded(OSError):
    """The time for the whole call was over before the request was sent."""


class Wire:
    """What the connections of one backend share: the key, and the deadline of each thread's call."""

    def __init__(self, key: str) -> None:
        quoted = quote(key, safe="")
        self._query = (f"apikey={PLACEHOLDER} ".encode(), f"apikey={quoted} ".encode())
        self._secrets = (key.encode(), quoted.encode())
        self._call = threading.local()
        self._watched: deque[_Watched] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._watchdog: threading.Thread | None = None

    def __repr__(self) -> str:
        return "<Wire>"

    def with_key(self, data: bytes) -> bytes:
        """The head of a request with the key in its request line."""
        line, separator, rest = data.partition(b"\r\n")
        return line.replace(*self._query) + separator + rest

    def without_key(self, data: bytes) -> bytes:
        """A reply without the key, should it quote the request's URL."""
        for secret in self._secrets:
            data = data.replace(secret, PLACEHOLDER.encode())
        return data

    @contextmanager
    def deadline(self, deadline: float) -> Iterator[None]:
        """Within it, this thread's call ends by the reading ``deadline`` of ``time.monotonic()``."""
        watched = self._call.watched = _Watched(deadline)
        with self._changed:
            self._forget_finished()
            idle = not self._watched
            self._watched.append(watched)
            if self._watchdog is None:
                self._watchdog = threading.Thread(target=self._watch, name="rjmetrics-deadlines", daemon=True)
                self._watchdog.start()
            elif idle:
                self._changed.notify()
        try:
            yield
        finally:
            cut = watched.finish()
            del self._call.watched
        if cut:
            # To http.client the cut is an end of the stream: half a reply may have looked like a whole one.
            raise TimeoutError("the reply took longer than the whole call may")

    def attach(self, connection: HTTPConnection) -> None:
        """Put a connection under this thread's deadline; DeadlineExceeded if that is over."""
        watched = getattr(self._call, "watched", None)
        if watched and not watched.attach(connection):
            raise DeadlineExceeded("the time for the whole call was over before the request was sent")

    def close(self) -> None:
        """Stop the watchdog."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _forget_finished(self) -> None:
        while self._watched and self._watched[0].finished:
            self._watched.popleft()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._forget_finished()
                if self._closed:
                    return
                timeout = None
                if self._watched:
                    timeout = min(watched.deadline for watched in self._watched) - time.monotonic()
                if timeout is None or timeout > 0:
                    self._changed.wait(timeout)
                    continue
                late = [watched for watched in self._watched if watched.deadline <= time.monotonic()]
                for watched in late:
                    self._watched.remove(watched)
            for watched in late:
                watched.cut()


class _Watched:
    """One call, its deadline and the connection it came to use."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.finished = False
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()

    def attach(self, connection: HTTPConnection) -> bool:
        with self._lock:
            self._connection = connection
            return not self.finished and time.monotonic() < self.deadline

    def finish(self) -> bool:
        """The call is over; returns whether it was cut."""
        with self._lock:
            cut = self.finished
            self.finished = True
            self._connection = None
            return cut

    def cut(self) -> None:
        # Under the lock: a finished call's connection may be another's by now.
        with self._lock:
            if not self.finished and self._connection is not None and self._connection.sock is not None:
                with suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
            self.finished = True


class _Connection:
    """Mixed into urllib3's connections."""

    wire: Wire

    def connect(self) -> None:
        connection: Any = self
        self.wire.attach(connection)
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        connection: Any = self
        if connection.sock is None:
            connection.connect()
        self.wire.attach(connection)
        super().request(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        # http.client's debug level prints what is sent.
        self.debuglevel = 0
        if isinstance(data, bytes) and data.startswith((b"POST ", b"GET ")):
            data = self.wire.with_key(data)
        super().send(data)  # type: ignore[misc]


class WireAdapter(HTTPAdapter):
    """An adapter of requests whose connections go through a Wire."""

    def __init__(self, wire: Wire, connections: int) -> None:
        self._wire = wire
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, with our connections."""
        super().init_poolmanager(*args, **kwargs)
        self._use_wire(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the manager for a proxy, with our connections."""
        manager = super().proxy_manager_for(*args, **kwargs)
        self._use_wire(manager)
        return manager

    def _use_wire(self, manager: PoolManager) -> None:
        members = {"wire": self._wire}
        http = type("Connection", (_Connection, HTTPConnection), members)
        https = type("SecureConnection", (_Connection, HTTPSConnection), members)
        manager.pool_classes_by_scheme = {
            "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
        }
