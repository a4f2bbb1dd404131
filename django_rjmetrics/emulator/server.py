"""HTTP over sockets: reads requests, writes replies, and misbehaves when a fault says so."""

from __future__ import annotations

import logging
import socket
import socketserver
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from itertools import chain
from threading import Event, Thread, current_thread
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl

from .app import App
from .faults import HOLD, Fault
from .messages import Reply, Request, RequestError, phrase, route
from .validation import MAX_BODY_BYTES

logger = logging.getLogger("django_rjmetrics.emulator")

# A larger body is read and thrown away, so that the client hears the answer; beyond this it is cut off.
_DRAIN_BYTES = 64 * 1024 * 1024
_JOIN_SECONDS = 5.0


class Server(socketserver.ThreadingTCPServer):
    """A listening socket, a thread for each connection, and an end that closes them all."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: App) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.app = app
        self.stopping = Event()
        self._connections: dict[Thread, socket.socket] = {}
        super().__init__((host, port), Handler)
        self._thread = Thread(target=self.serve_forever, args=(0.05,), name="rjmetrics-emulator", daemon=True)

    def start(self) -> None:
        """Serve in a daemon thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close the listening socket and every connection."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
        connections = self._connections.copy()
        for connection in connections.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = monotonic() + _JOIN_SECONDS
        for thread in connections:
            thread.join(max(0.0, deadline - monotonic()))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a new connection in a thread of its own."""
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end, and forget it."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.pop(current_thread(), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what ended a connection, unless the client just went away."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logger.error("The emulator failed on a connection.", exc_info=error)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: a request's line has the api key in it."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that http.server could not read, in the API's shape."""
        self.close_connection = True
        self._send(RequestError(code, phrase(code)).reply())

    def serve(self) -> None:
        """Answer one request."""
        try:
            request = self._read()
        except RequestError as refused:
            self.close_connection = True
            self._send(refused.reply())
            return
        app = self.server.app
        app.stats.arrived(request)
        fault = app.faults.take(request)
        if fault is not None:
            self._misbehave(request, fault)
        else:
            self._answer(request, app.respond(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815

    def _read(self) -> Request:
        path, _, query = self.path.partition("?")
        return Request(
            self.command,
            path,
            dict(parse_qsl(query, keep_blank_values=True)),
            self.headers.get("Content-Type", ""),
            self._read_body(),
            route(path),
        )

    def _read_body(self) -> bytes | None:
        if "Transfer-Encoding" in self.headers:
            raise RequestError(411, phrase(411), ["a body needs a Content-Length"])
        text = self.headers.get("Content-Length", "0").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise RequestError(400, phrase(400), ["the Content-Length is not a number"])
        length = int(text)
        if length <= MAX_BODY_BYTES:
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionAbortedError("the client went away in the middle of a body")
            return body
        left = min(length, _DRAIN_BYTES)
        while left and (chunk := self.rfile.read(min(left, 65_536))):
            left -= len(chunk)
        self.close_connection = self.close_connection or length > _DRAIN_BYTES
        return None

    def _answer(self, request: Request, reply: Reply) -> None:
        self.server.app.stats.answered(request, reply.status)
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        for part in self._parts(reply):
            self.connection.sendall(part)

    def _parts(self, reply: Reply) -> Iterator[bytes]:
        """Yield the bytes of a reply; a body that is at hand goes with the head, in one packet."""
        body = reply.body
        chunked = not isinstance(body, bytes) and self.request_version != "HTTP/1.0"
        head = [
            f"HTTP/1.1 {reply.status} {phrase(reply.status).title()}",
            f"Content-Type: {reply.content_type}",
        ]
        if chunked:
            head.append("Transfer-Encoding: chunked")
        else:
            body = body if isinstance(body, bytes) else b"".join(body)
            head.append(f"Content-Length: {len(body)}")
        head.append(f"Connection: {'close' if self.close_connection else 'keep-alive'}")
        head.extend(f"{name}: {value}" for name, value in reply.headers.items())
        start = "\r\n".join([*head, "", ""]).encode("latin-1")
        if self.command == "HEAD":
            yield start
        elif isinstance(body, bytes):
            yield start + body
        else:
            yield start
            for chunk in chain(body, [b""]):
                yield b"%x\r\n%b\r\n" % (len(chunk), chunk)

    def _misbehave(self, request: Request, fault: Fault) -> None:
        """Let a fault happen, stage by stage; they are listed at Fault."""
        app, stopping = self.server.app, self.server.stopping
        if stopping.wait(fault.latency):
            return self._close()
        if fault.reset == "before":
            return self._abort()
        hides = fault.answers or fault.stall is not None or fault.late is not None
        reply = app.respond(request) if fault.store or not hides else None
        if fault.reset == "after":
            return self._abort()
        if fault.stall is not None or fault.late is not None:
            self._hold(HOLD if fault.stall is None else fault.stall)
            if fault.late is not None and not stopping.wait(fault.late):
                app.respond(request)
            return None
        reply = fault.reply(reply)
        if fault.trickle is None:
            return self._answer(request, reply)
        app.stats.answered(request, reply.status)
        return self._trickle(b"".join(self._parts(reply)), fault.trickle, fault.trickle_for)

    def _close(self) -> None:
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def _abort(self) -> None:
        """Reset the connection: with no time to linger, closing sends RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _hold(self, seconds: float) -> None:
        """Say nothing until the client goes away or the time is up, then close."""
        deadline = monotonic() + seconds
        with suppress(OSError):
            while (left := deadline - monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(65_536):
                    break
        self._close()

    def _trickle(self, data: bytes, every: float, seconds: float) -> None:
        deadline = monotonic() + seconds
        sent = 0
        while sent < len(data) and monotonic() < deadline and not self.server.stopping.is_set():
            self.connection.sendall(data[sent : sent + 1])
            sent += 1
            self.server.stopping.wait(every)
        self.connection.sendall(data[sent:])
