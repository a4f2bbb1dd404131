"""``python -m django_rjmetrics.emulator`` as a process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_rjmetrics.emulator import Emulator

from .http_client import Client, point

COMMAND = [sys.executable, "-m", "django_rjmetrics.emulator"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield the process and what it printed up to the end of the settings."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate()


def url_of(output: str) -> str:
    found = re.search(r"listens at (\S+);", output)
    assert found, output
    return found[1]


def settings_of(output: str) -> dict[str, object]:
    namespace: dict[str, dict[str, object]] = {}
    exec(output[output.index("RJMETRICS = ") :], namespace)
    return namespace["RJMETRICS"]


def test_start_prints_url_page_and_settings() -> None:
    with running("127.0.0.1:0") as (_, output):
        url = url_of(output)

        assert f"{url}/_emulator/" in output
        assert settings_of(output) == {
            "CLIENT_ID": 1,
            "API_KEY": "emulator",
            "API_URL": f"{url}/v2",
            "SANDBOX_URL": f"{url}/sandbox/v2",
        }
        with Client(url) as api:
            assert api.push(point(1)).status == 201
            assert api.get("/_emulator/arrivals").status == 404


def test_start_with_options_hides_the_key(tmp_path: Path) -> None:
    database = tmp_path / "tables.sqlite3"
    options = ["--client-id", "7", "--api-key", "s3cr3t", "--database", str(database), "--record-arrivals"]
    with running("127.0.0.1:0", *options) as (_, output):
        assert "s3cr3t" not in output
        assert settings_of(output)["CLIENT_ID"] == 7
        with Client(url_of(output)) as api:
            assert api.push(point(1), client_id="7", api_key="s3cr3t").status == 201
            assert len(api.get("/_emulator/arrivals").json) == 1
    with Emulator(database=database) as emulator:
        assert emulator.tables() == {"orders": 1}


def test_start_beyond_loopback_allows_http() -> None:
    with running("0.0.0.0:0") as (_, output):
        assert settings_of(output)["ALLOW_HTTP"] is True


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_cleanly(number: signal.Signals) -> None:
    with running("127.0.0.1:0") as (process, output), Client(url_of(output)) as api:
        api.get("/")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)

    assert (process.returncode, rest, errors) == (0, "", "")


def error_of(*arguments: str) -> str:
    result = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    "address", ["8765", "localhost", "localhost:", ":8765", "a:b", "a:65536", "::1:80", "a:-1"]
)
def test_address_invalid_is_one_line(address: str) -> None:
    assert f"{address!r} is no address: give HOST:PORT, such as 127.0.0.1:8765" in error_of(address)


def test_address_unknown_host_is_one_line() -> None:
    assert "can't listen at nowhere.invalid:0: " in error_of("nowhere.invalid:0")


def test_port_in_use_is_one_line(emulator: Emulator) -> None:
    error = error_of(f"127.0.0.1:{emulator.port}")

    assert f"can't listen at 127.0.0.1:{emulator.port}: Address already in use" in error


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_client_id_invalid_is_one_line(value: str) -> None:
    assert "give a positive whole number" in error_of("--client-id=" + value)


def test_option_unknown_is_one_line() -> None:
    assert "unrecognized arguments: --databse" in error_of("--databse")


def test_database_unusable_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 100)

    for path in (tmp_path / "missing" / "tables.sqlite3", tmp_path, tmp_path / "notes.txt"):
        assert f"can't use the database {str(path)!r}: " in error_of("127.0.0.1:0", "--database", str(path))
    assert "can't use the database '': its path is empty" in error_of("--database", "")
