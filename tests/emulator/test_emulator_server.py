"""Sockets: keep-alive, odd requests, starting and stopping, the database file."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from django_rjmetrics.emulator import Emulator

from .http_client import Client, point, wait_until

PUSH = "/v2/client/1/table/orders/data?apikey=emulator"


def talk(emulator: Emulator, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the emulator closes."""
    with socket.create_connection((emulator.host, emulator.port), timeout=10) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def test_urls(emulator: Emulator) -> None:
    assert emulator.port != 0
    assert emulator.url == f"http://127.0.0.1:{emulator.port}"
    assert emulator.api_url == f"{emulator.url}/v2"
    assert emulator.sandbox_url == f"{emulator.url}/sandbox/v2"


def test_connection_is_kept_alive(api: Client) -> None:
    api.get("/")
    before = api.connection.sock
    api.push(point(1))
    api.get("/_emulator/tables/orders")

    assert before is not None
    assert api.connection.sock is before


def test_connection_close_is_obeyed(emulator: Emulator) -> None:
    received = talk(emulator, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert b"\r\nConnection: close\r\n" in received


def test_http_1_0_gets_rows_unchunked(emulator: Emulator, api: Client) -> None:
    api.push(point(1))

    received = talk(emulator, b"GET /_emulator/tables/orders HTTP/1.0\r\n\r\n")

    assert b"chunked" not in received
    assert received.endswith(b'\r\n\r\n[{"id":1}]')


def test_expect_100_continue_is_answered_at_once(emulator: Emulator) -> None:
    head = (
        f"POST {PUSH} HTTP/1.1\r\nExpect: 100-continue\r\n"
        "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n"
    )
    with socket.create_connection((emulator.host, emulator.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b'{"keys":["a"],"a":1}')
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"POST {PUSH} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (f"POST {PUSH} HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (f"POST {PUSH} HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (f"BREW {PUSH} HTTP/1.1\r\n\r\n", 501),
        (f"GET {PUSH} HTTP/9\r\n\r\n", 400),
        (f"GET /{'a' * 70_000} HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_request_unreadable_is_answered_in_shape(emulator: Emulator, head: str, status: int) -> None:
    received = talk(emulator, head.encode())

    top, _, body = received.partition(b"\r\n\r\n")
    assert top.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["code"] == status
    assert b"apikey" not in received


def test_body_cut_short_stores_nothing(emulator: Emulator, api: Client) -> None:
    with socket.create_connection((emulator.host, emulator.port), timeout=10) as connection:
        connection.sendall(
            f"POST {PUSH} HTTP/1.1\r\nContent-Length: 99\r\n\r\n".encode() + b'{"keys":["a"],"a":1}'
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65_536) == b""
    assert emulator.tables() == {}
    assert emulator.stats()["requests"] == 0


def test_many_connections_at_once(emulator: Emulator) -> None:
    together = threading.Barrier(40)

    def push(worker: int) -> None:
        with Client(emulator.url) as api:
            api.get("/")
            together.wait(10)
            for number in range(5):
                points = [point(n, worker=worker) for n in range(number * 100, number * 100 + 100)]
                assert api.push(points).status == 201

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(push, range(40)))

    assert emulator.tables() == {"orders": 500}
    assert emulator.stats()["data_points"] == 40 * 500


def test_nothing_is_logged(
    emulator: Emulator, api: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    api.push(point(1))
    api.push(point(1), api_key="wrong")
    talk(emulator, b"GET nonsense HTTP/9\r\n\r\n")

    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_stop_closes_everything(emulator: Emulator, api: Client) -> None:
    api.get("/")
    assert api.connection.sock is not None
    emulator.stop()

    assert api.connection.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((emulator.host, emulator.port), timeout=10)


def test_stop_leaves_no_thread() -> None:
    before = threading.active_count()
    with Emulator() as emulator, Client(emulator.url) as api:
        api.get("/")
        assert threading.active_count() == before + 2
        emulator.stop()
        assert threading.active_count() == before


def test_start_again_keeps_port_and_tables(emulator: Emulator, api: Client) -> None:
    api.push(point(1))
    url = emulator.url
    emulator.stop()
    emulator.stop()
    emulator.start()

    assert emulator.url == url
    with Client(url) as again:
        assert again.push(point(2)).status == 201
    assert emulator.tables() == {"orders": 2}


def test_start_twice_is_an_error(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="already started"):
        emulator.start()


def test_port_in_use_is_an_oserror(emulator: Emulator) -> None:
    with pytest.raises(OSError, match="in use"), Emulator(port=emulator.port):
        pass


def test_repr_has_no_key() -> None:
    with Emulator(api_key="s3cr3t") as emulator:
        assert repr(emulator) == f"<Emulator at {emulator.url}>"


def test_internal_error_is_a_500_and_is_logged(
    emulator: Emulator, api: Client, caplog: pytest.LogCaptureFixture
) -> None:
    emulator._store.close()

    answer = api.push(point(1), api_key="emulator")

    assert (answer.status, answer.json["code"]) == (500, 500)
    assert "Cannot operate on a closed database" in caplog.text
    assert "apikey" not in caplog.text


def test_database_file_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "tables.sqlite3"
    with Emulator(database=path) as emulator, Client(emulator.url) as api:
        api.push([point(1, total=1), point(2)])
    with Emulator(database=str(path)) as emulator, Client(emulator.url) as api:
        assert emulator.tables() == {"orders": 2}
        api.push(point(1, total=2))
        assert emulator.rows("orders") == [{"id": 1, "total": 2}, {"id": 2}]
    assert [file.name for file in tmp_path.iterdir()] == ["tables.sqlite3"]


def test_database_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE shop (id)")
    before = path.read_bytes()

    with pytest.raises(ValueError, match="something else"):
        Emulator(database=path)
    assert path.read_bytes() == before


def test_database_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("something that is no database at all\n" * 100)

    with pytest.raises(sqlite3.DatabaseError):
        Emulator(database=path)


def test_ipv6() -> None:
    try:
        emulator = Emulator(host="::1")
        emulator.start()
    except OSError:
        emulator.close()
        pytest.skip("there is no IPv6 here")
    with closing(emulator), closing(http.client.HTTPConnection("::1", emulator.port, timeout=10)) as connection:
        assert urlsplit(emulator.url).hostname == "::1"
        connection.request("GET", "/")
        assert connection.getresponse().status == 200


def test_emulator_left_running_is_no_hindrance(emulator: Emulator) -> None:
    wait_until(lambda: any(thread.name == "rjmetrics-emulator" for thread in threading.enumerate()))

    assert all(t.daemon for t in threading.enumerate() if t.name == "rjmetrics-emulator")
