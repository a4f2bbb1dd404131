"""``python -m django_rjmetrics.emulator``: the emulator on the command line."""

from __future__ import annotations

import argparse
import signal
import sqlite3
import sys
from threading import Event
from typing import NoReturn

from .emulator import Emulator

DEFAULT_ADDRESS = "127.0.0.1:8765"
DEFAULT_KEY = "emulator"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host is in brackets. Raises ArgumentTypeError."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (host and port.isascii() and port.isdigit() and int(port[:6]) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no address: give HOST:PORT, such as {DEFAULT_ADDRESS}")
    return host, int(port)


def parse_client_id(text: str) -> int:
    """Return a positive integer. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no client id: give a positive whole number")
    return int(text)


def settings_snippet(emulator: Emulator, api_key: str) -> str:
    """Return the settings that point a project here; a key of one's own is not shown."""
    key = f'"{DEFAULT_KEY}"' if api_key == DEFAULT_KEY else '"..."'
    hint = "" if api_key == DEFAULT_KEY else "  # the one given with --api-key"
    lines = [
        "RJMETRICS = {",
        f'    "CLIENT_ID": {emulator.client_id},',
        f'    "API_KEY": {key},{hint}',
        f'    "API_URL": "{emulator.api_url}",',
        f'    "SANDBOX_URL": "{emulator.sandbox_url}",',
        "}",
    ]
    if emulator.host not in ("localhost", "::1") and not emulator.host.startswith("127."):
        lines.insert(-1, '    "ALLOW_HTTP": True,')
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m django_rjmetrics.emulator", description="The Data Import API v2 on this machine."
    )
    add = parser.add_argument
    where = f"where to listen, port 0 for a free one (default: {DEFAULT_ADDRESS})"
    add("address", nargs="?", type=parse_address, default=DEFAULT_ADDRESS, metavar="HOST:PORT", help=where)
    add("--client-id", type=parse_client_id, default=1, metavar="ID", help="default: %(default)s")
    add("--api-key", default=DEFAULT_KEY, metavar="KEY", help="default: %(default)s")
    add("--database", metavar="PATH", help="a SQLite file to keep the tables in (default: in memory)")
    add("--record-arrivals", action="store_true", help="keep the order in which data points were stored")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    host, port = options.address
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        emulator = Emulator(
            client_id=options.client_id,
            api_key=options.api_key,
            database=options.database,
            host=host,
            port=port,
            record_arrivals=options.record_arrivals,
        )
    except (sqlite3.Error, ValueError) as error:
        parser.error(f"can't use the database {options.database!r}: {error}")
    try:
        emulator.start()
        sys.stdout.write(
            f"The Data Import API emulator listens at {emulator.url}; Ctrl-C stops it.\n"
            f"Browse its tables at {emulator.url}/_emulator/\n\n"
            f"{settings_snippet(emulator, options.api_key)}\n"
        )
        sys.stdout.flush()
        while not stopping.wait(1):  # without a timeout, Windows would not see Ctrl-C
            pass
    except OSError as error:
        parser.error(f"can't listen at {host}:{port}: {error.strerror or error}")
    finally:
        emulator.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
