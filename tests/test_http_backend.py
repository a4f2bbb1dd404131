"""The http backend against the emulator, over its socket, with every fault there is."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_rjmetrics.backends import Batch, get_backend
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.exceptions import (
    Ambiguous,
    CredentialsRefused,
    DeliveryError,
    Refused,
    ServerError,
    Unavailable,
)
from tests.conftest import API_KEY

POINTS = [b'{"keys":["id"],"id":1,"total":29.30}', b'{"keys":["id"],"id":2,"total":null}']


def batch(points: list[bytes] = POINTS, seconds: float = 10) -> Batch:
    return Batch(points, time.monotonic() + seconds)


def upsert(points: list[bytes] = POINTS, seconds: float = 10, table: str = "orders") -> None:
    with get_backend() as backend:
        backend.upsert(table, batch(points, seconds))


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_upsert_stores_the_points(emulator: Emulator) -> None:
    upsert()
    assert [str(row["total"]) for row in emulator.rows("orders")] == ["29.30", "None"]


def test_upsert_to_the_sandbox_stores_nothing(emulator: Emulator) -> None:
    with get_backend(sandbox=True) as backend:
        backend.upsert("orders", batch())
    assert emulator.tables() == {}
    assert emulator.stats()["sandbox"]["data_points"] == 2


def test_sandbox_setting_sends_everything_there(emulator: Emulator, settings: Any) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "SANDBOX": True}
    upsert()
    assert emulator.tables() == {}


@pytest.mark.parametrize(
    ("fault", "expected", "says"),
    [
        ({"status": 400}, Refused, "400"),
        ({"status": 413}, Refused, "413"),
        ({"status": 401}, CredentialsRefused, "401"),
        ({"status": 404}, CredentialsRefused, "404"),
        ({"status": 302, "headers": {"Location": "/elsewhere"}}, CredentialsRefused, "302"),
        ({"status": 429}, Unavailable, "429"),
        ({"status": 503}, Unavailable, "503"),
        ({"status": 500}, ServerError, "500"),
        ({"status": 502}, Ambiguous, "502"),
        ({"status": 504, "body": ""}, Ambiguous, "empty"),
        ({"status": 500, "body": "oops"}, ServerError, "isn't the API's"),
        ({"status": 500, "body": [1]}, ServerError, "isn't the API's"),
        ({"status": 200, "html": True}, ServerError, "HTML"),
        ({"status": 503, "html": True}, Unavailable, "HTML"),
        ({"reset": "before"}, Ambiguous, "connection broke"),
        ({"reset": "after"}, Ambiguous, "connection broke"),
    ],
    ids=str,
)
def test_upsert_tells_failures_apart(
    emulator: Emulator, fault: dict[str, Any], expected: type[DeliveryError], says: str
) -> None:
    emulator.set_faults(fault)
    with pytest.raises(DeliveryError, match=says) as caught:
        upsert()
    assert type(caught.value) is expected
    assert caught.value.status == fault.get("status")


@pytest.mark.parametrize("body", ["", {"code": 200}, "taken"])
@pytest.mark.parametrize("status", [200, 201])
def test_upsert_takes_any_success_but_a_web_page(emulator: Emulator, status: int, body: Any) -> None:
    emulator.set_faults({"status": status, "body": body})
    upsert()


def test_refused_carries_the_reasons(emulator: Emulator) -> None:
    with pytest.raises(Refused) as caught:
        upsert([b'{"keys":["id"]}'])
    assert caught.value.reasons
    assert caught.value.reasons[0] in str(caught.value)


def test_reasons_as_a_string_are_one_reason(emulator: Emulator) -> None:
    emulator.set_faults({"status": 400, "body": {"code": 400, "message": "bad", "reasons": "no such thing"}})
    with pytest.raises(Refused) as caught:
        upsert()
    assert caught.value.reasons == ("no such thing",)


def test_retry_after_is_read(emulator: Emulator) -> None:
    emulator.set_faults({"status": 429, "retry_after": 17})
    with pytest.raises(Unavailable) as caught:
        upsert()
    assert caught.value.retry_after == 17


def test_redirects_are_not_followed(emulator: Emulator) -> None:
    emulator.set_faults({"status": 307, "headers": {"Location": f"{emulator.api_url}/x"}})
    with pytest.raises(CredentialsRefused):
        upsert()
    assert emulator.stats()["requests"] == 1


def test_closed_port_is_unavailable(emulator: Emulator, settings: Any) -> None:
    with closed_port() as port:
        settings.RJMETRICS = {**settings.RJMETRICS, "API_URL": f"http://127.0.0.1:{port}/v2"}
        with pytest.raises(Unavailable, match="can't be reached"):
            upsert()


def test_unknown_host_is_unavailable(emulator: Emulator, settings: Any) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "API_URL": "https://no-such-host.invalid/v2"}
    with pytest.raises(Unavailable, match="can't be reached"):
        upsert()


@pytest.mark.parametrize("fault", [{"stall": 60}, {"trickle": 0.05}, {"latency": 30}], ids=str)
def test_upsert_ends_by_its_total_deadline(emulator: Emulator, settings: Any, fault: dict[str, Any]) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "TIMEOUT": 0.5}
    emulator.set_faults(fault)
    with pytest.raises(Ambiguous):
        upsert()


@pytest.mark.parametrize("dribble", [b"HTTP/1.1 201 Created\r\n", b"X-Slow: 1\r\n"])
def test_upsert_ends_by_its_deadline_when_headers_trickle(
    emulator: Emulator, settings: Any, dribble: bytes
) -> None:
    """Each line comes well within the timeout; the reply as a whole never does."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                while not stop.wait(0.05):
                    connection.sendall(dribble)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        settings.RJMETRICS = {
            **settings.RJMETRICS,
            "API_URL": f"http://127.0.0.1:{port}/v2",
            "TIMEOUT": 0.5,
        }
        try:
            with pytest.raises(Ambiguous):
                upsert()
        finally:
            stop.set()
            thread.join()


def test_nothing_is_sent_after_the_deadline(emulator: Emulator) -> None:
    with pytest.raises(Unavailable, match="was over"):
        upsert(seconds=-1)
    assert emulator.stats()["requests"] == 0


def test_next_call_works_after_a_cut_one(emulator: Emulator, settings: Any) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "TIMEOUT": 0.3}
    emulator.set_faults({"stall": 60, "times": 1})
    with get_backend() as backend:
        with pytest.raises(Ambiguous):
            backend.upsert("orders", batch())
        settings.RJMETRICS = {**settings.RJMETRICS, "TIMEOUT": 10}
        backend.upsert("orders", batch())
    assert emulator.tables() == {"orders": 2}


def test_one_connection_serves_many_calls(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "urllib3"), get_backend() as backend:
        for _ in range(5):
            backend.upsert("orders", batch())
    assert sum("Starting new HTTP connection" in message for message in caplog.messages) == 1


def test_authenticate_takes_the_right_key_only(emulator: Emulator, settings: Any) -> None:
    with get_backend() as backend:
        backend.authenticate()
    settings.RJMETRICS = {**settings.RJMETRICS, "API_KEY": "wrong"}
    with get_backend() as backend, pytest.raises(CredentialsRefused, match="check CLIENT_ID, API_KEY"):
        backend.authenticate()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"CLIENT_ID": None}, "CLIENT_ID"),
        ({"CLIENT_ID": 0}, "CLIENT_ID"),
        ({"CLIENT_ID": "7"}, "CLIENT_ID"),
        ({"API_KEY": None}, "API_KEY"),
        ({"API_KEY": " "}, "API_KEY"),
        ({"API_URL": "http://connect.example.com/v2"}, "plain http"),
        ({"API_URL": "ftp://connect.example.com/v2"}, "API_URL"),
        ({"API_URL": None}, "API_URL"),
        ({"API_URL": "https://user:pw@connect.example.com/v2"}, "bare address"),
        ({"API_URL": "http://127.0.0.1.example.com/v2"}, "plain http"),
        ({"BACKEND": "nowhere.Backend"}, "BACKEND"),
    ],
)
def test_open_refuses_settings_that_are_wrong(
    emulator: Emulator, settings: Any, given: dict[str, Any], names: str
) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, **given}
    with pytest.raises(ImproperlyConfigured, match=names):
        get_backend().open()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_open_takes_plain_http_on_loopback(emulator: Emulator, settings: Any, host: str) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "API_URL": f"http://{host}:1/v2"}
    with get_backend():
        pass


def test_allow_http_takes_any_host(emulator: Emulator, settings: Any) -> None:
    settings.RJMETRICS = {**settings.RJMETRICS, "API_URL": "http://warehouse.test/v2", "ALLOW_HTTP": True}
    with get_backend():
        pass


FAILURES: list[dict[str, Any]] = [
    {"status": 400},
    {"status": 401},
    {"status": 500, "html": True},
    {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
    {"status": 400, "body": {"message": f"no {API_KEY}", "reasons": [f"apikey={API_KEY}"]}},
    {"reset": "before"},
    {"stall": 60},
    {"trickle": 0.05},
]


def told(error: BaseException | None, seen: set[int] | None = None) -> Iterator[str]:
    """All that an error tracker could pick up: texts, chains and the locals of every frame."""
    seen = set() if seen is None else seen
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield from (str(error), repr(error), repr(vars(error)))
        traceback = error.__traceback__
        while traceback is not None:
            if "django_rjmetrics" in traceback.tb_frame.f_code.co_filename:
                yield repr(traceback.tb_frame.f_locals)
            traceback = traceback.tb_next
        yield from told(error.__cause__, seen)
        error = error.__context__


@pytest.mark.parametrize("fault", [*FAILURES, None], ids=str)
def test_key_is_never_told(
    emulator: Emulator,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any] | None,
) -> None:
    import http.client

    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    settings.RJMETRICS = {**settings.RJMETRICS, "TIMEOUT": 0.3}
    if fault:
        emulator.set_faults(fault)
    else:
        settings.RJMETRICS = {**settings.RJMETRICS, "API_URL": "http://127.0.0.1:1/v2"}
    with caplog.at_level(logging.DEBUG):
        backend = get_backend()
        backend.open()
        with pytest.raises(DeliveryError) as caught:
            backend.upsert("orders", batch())
        backend.close()
    output = capfd.readouterr()
    everything = [*caplog.messages, *map(str, (r.args for r in caplog.records)), output.out, output.err]
    everything += [*told(caught.value), repr(backend), repr(vars(backend))]
    for secret in (API_KEY, "k3y-that%2Fmust%2Bnot%3Dleak"):
        assert not [text for text in everything if secret in text]
    assert any(caplog.messages)
