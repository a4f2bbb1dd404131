"""Each fault, as a client meets it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from typing import Any

import pytest

from django_rjmetrics.emulator import Emulator
from django_rjmetrics.emulator.faults import KEYS, Fault

from .http_client import Client, point, wait_until

LONG = 30.0  # nothing may take that long; the clients give up after 10 seconds


def test_keys_are_all_described() -> None:
    assert list(KEYS) == list(Fault.__struct_fields__)


@pytest.mark.parametrize("status", [200, 400, 401, 413, 429, 500, 503, 599])
def test_status_answers_in_shape_and_stores_nothing(emulator: Emulator, api: Client, status: int) -> None:
    emulator.set_faults([{"status": status}])

    answer = api.push(point(1))

    assert (answer.status, answer.json["code"]) == (status, status)
    assert ("reasons" in answer.json) == (status >= 400)
    assert emulator.tables() == {}
    assert emulator.stats()["statuses"] == {str(status): 1}


def test_status_with_store_stores(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 502, "store": True}])

    assert api.push(point(1)).status == 502
    assert emulator.tables() == {"orders": 1}


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ({"status": 503, "body": ""}, 503, "text/plain; charset=utf-8", b""),
        ({"status": 500, "body": "böse"}, 500, "text/plain; charset=utf-8", "böse".encode()),
        ({"status": 400, "body": {"reasons": "one"}}, 400, "application/json", b'{"reasons":"one"}'),
        ({"status": 400, "body": None}, 400, "application/json", b"null"),
        ({"body": "<p>hello", "html": True}, 200, "text/html; charset=utf-8", b"<p>hello"),
    ],
)
def test_body_of_ones_own(
    emulator: Emulator, api: Client, fault: dict[str, Any], status: int, content_type: str, body: bytes
) -> None:
    emulator.set_faults([fault])

    answer = api.push(point(1))

    assert (answer.status, answer.headers["Content-Type"], answer.body) == (status, content_type, body)


@pytest.mark.parametrize(("fault", "status"), [({}, 200), ({"status": 502}, 502)])
def test_html_page(emulator: Emulator, api: Client, fault: dict[str, Any], status: int) -> None:
    emulator.set_faults([{"html": True, **fault}])

    answer = api.push(point(1))

    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<html>")
    assert emulator.tables() == {}


@pytest.mark.parametrize("value", [3, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_retry_after_and_headers(emulator: Emulator, api: Client, value: object) -> None:
    emulator.set_faults([{"status": 429, "retry_after": value, "headers": {"X-Trace": "abc"}}])

    answer = api.push(point(1))

    assert answer.status == 429
    assert answer.headers["Retry-After"] == str(value)
    assert answer.headers["X-Trace"] == "abc"


def test_headers_alone_leave_the_answer(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"headers": {"X-Trace": "abc"}}])

    answer = api.push(point(1))

    assert (answer.status, answer.headers["X-Trace"]) == (201, "abc")
    assert emulator.tables() == {"orders": 1}


def test_latency_delays_the_answer(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"latency": 0.2}])

    started = time.monotonic()
    assert api.push(point(1)).status == 201
    assert time.monotonic() - started >= 0.2
    assert emulator.tables() == {"orders": 1}


@pytest.mark.parametrize(("moment", "tables"), [("before", {}), ("after", {"orders": 1})])
def test_reset_is_a_reset(emulator: Emulator, api: Client, moment: str, tables: dict[str, int]) -> None:
    emulator.set_faults([{"reset": moment}])

    with pytest.raises(ConnectionResetError) as caught:
        api.push(point(1))
    assert caught.type is ConnectionResetError, "a mere close is a subclass of it"
    assert emulator.tables() == tables
    assert emulator.stats()["requests"] == 1
    assert emulator.stats()["statuses"] == {}


@pytest.mark.parametrize(("store", "tables"), [(False, {}), (True, {"orders": 1})])
def test_stall_closes_after_its_time(emulator: Emulator, api: Client, store: bool, tables: dict[str, int]) -> None:
    emulator.set_faults([{"stall": 0.2, "store": store}])

    started = time.monotonic()
    with pytest.raises(http.client.RemoteDisconnected):
        api.push(point(1))
    assert time.monotonic() - started >= 0.2
    assert emulator.tables() == tables


def test_stall_ends_when_the_client_goes(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"stall": LONG, "late": 0}])
    api.connection.timeout = 0.05

    with pytest.raises(TimeoutError):
        api.push(point(1))
    assert emulator.tables() == {}
    api.connection.close()

    wait_until(lambda: emulator.tables() == {"orders": 1})


def test_late_applies_after_a_newer_state(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"late": 0.3, "stall": 0, "times": 1}])

    with pytest.raises(http.client.RemoteDisconnected):
        api.push(point(1, state="old"))
    assert api.push(point(1, state="new")).status == 201
    assert emulator.rows("orders") == [{"id": 1, "state": "new"}]

    wait_until(lambda: emulator.rows("orders") == [{"id": 1, "state": "old"}])


@pytest.mark.parametrize(
    "fault", [{"stall": LONG}, {"late": LONG, "stall": 0}, {"latency": LONG}, {"trickle": LONG}]
)
def test_stop_ends_a_fault_at_once(emulator: Emulator, fault: dict[str, Any]) -> None:
    emulator.set_faults([fault])
    with socket.create_connection((emulator.host, emulator.port), timeout=LONG) as connection:
        body = json.dumps(point(1)).encode()
        head = (
            "POST /v2/client/1/table/orders/data?apikey=emulator HTTP/1.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        wait_until(lambda: emulator.stats()["requests"] == 1)
        started = time.monotonic()
        emulator.stop()
        assert time.monotonic() - started < 3
    assert emulator.stats()["data_points"] == (1 if "trickle" in fault else 0)


def test_trickle_sends_byte_by_byte(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"trickle": 0.001}])

    started = time.monotonic()
    answer = api.push(point(1))

    assert (answer.status, answer.json["message"]) == (201, "created")
    assert time.monotonic() - started >= 0.1
    assert emulator.tables() == {"orders": 1}


def test_trickle_sends_the_rest_after_its_time(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"trickle": 0.05, "trickle_for": 0.2, "status": 503, "body": "x" * 10_000}])

    answer = api.push(point(1))

    assert (answer.status, len(answer.body)) == (503, 10_000)


def test_times_limits_a_fault(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 503, "times": 2}])

    assert [api.push(point(1)).status for _ in range(4)] == [503, 503, 201, 201]
    assert emulator.faults() == [{"status": 503, "times": 2, "fired": 2}]


def test_share_is_random_and_repeatable(emulator: Emulator, api: Client) -> None:
    runs = []
    for seed in (1, 1, 2):
        emulator.set_faults([{"status": 500, "share": 0.3, "seed": seed}])
        runs.append([api.push(point(1)).status for _ in range(60)])

    assert runs[0] == runs[1] != runs[2]
    assert 5 < runs[0].count(500) < 40


@pytest.mark.parametrize(("share", "status"), [(0, 201), (1, 500)])
def test_share_none_or_all(emulator: Emulator, api: Client, share: float, status: int) -> None:
    emulator.set_faults([{"status": 500, "share": share}])

    assert {api.push(point(1)).status for _ in range(10)} == {status}


def test_first_fault_that_fits_is_taken(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 500, "times": 1}, {"status": 429, "table": "orders"}, {"status": 503}])

    assert api.push(point(1)).status == 500
    assert api.push(point(1)).status == 429
    assert api.push(point(1), "customers").status == 503
    assert [fault["fired"] for fault in emulator.faults()] == [1, 1, 1]


def test_table_limits_a_fault(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 500, "table": "orders"}])

    assert api.push(point(1), "orders").status == 500
    assert api.push(point(1), "orders2").status == 201


def test_contains_finds_a_poison_record(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 500, "contains": '"note": "poison"'}])

    assert api.push([point(1), point(2, note="poison")]).status == 500
    assert api.push([point(1), point(2, note="harmless")]).status == 201


@pytest.mark.parametrize(("when", "production", "sandbox"), [("production", 500, 201), ("sandbox", 201, 500)])
def test_when_limits_a_fault(emulator: Emulator, api: Client, when: str, production: int, sandbox: int) -> None:
    emulator.set_faults([{"status": 500, "when": when}])

    assert api.push(point(1)).status == production
    assert api.push(point(1), base="/sandbox/v2").status == sandbox


@pytest.mark.parametrize(
    ("call", "data", "authenticate"),
    [(None, 500, 200), ("data", 500, 200), ("authenticate", 201, 500), ("any", 500, 500)],
)
def test_call_limits_a_fault(
    emulator: Emulator, api: Client, call: str | None, data: int, authenticate: int
) -> None:
    emulator.set_faults([{"status": 500} | ({"call": call} if call else {})])

    assert api.push(point(1)).status == data
    assert api.get("/v2/client/1/authenticate?apikey=emulator").status == authenticate
    assert api.get("/").status == 200


def test_fault_comes_before_the_checks(emulator: Emulator, api: Client) -> None:
    emulator.set_faults([{"status": 503}])

    assert api.push(b"nonsense", api_key="wrong").status == 503


def test_faults_over_http(emulator: Emulator, api: Client) -> None:
    fault = {"status": 503, "times": 3}

    assert api.post("/_emulator/faults", fault).json == [{**fault, "fired": 0}]
    assert api.push(point(1)).status == 503
    assert api.get("/_emulator/faults").json == [{**fault, "fired": 1}]
    assert api.post("/_emulator/faults", [{"latency": 0.0001}, {"html": True}]).status == 200
    assert [set(fault) for fault in api.get("/_emulator/faults").json] == [{"latency", "fired"}, {"html", "fired"}]
    assert api.post("/_emulator/faults", []).json == []
    assert api.push(point(1)).status == 201


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"statsu": 500}, "unknown field `statsu`"),
        ({"status": 99}, ">= 200"),
        ({"status": "500"}, "Expected `int | null`"),
        ({"status": 500, "share": 1.5}, "<= 1"),
        ({"status": 500, "times": 0}, ">= 1"),
        ({"latency": -1}, ">= 0"),
        ({"reset": "during"}, "Invalid enum value 'during'"),
        ({"status": 500, "when": "staging"}, "Invalid enum value 'staging'"),
        ({"status": 500, "headers": {"X": "a\r\nB: c"}}, "matching regex"),
        ({"status": 500, "retry_after": "1\r\nB: c"}, "matching regex"),
        ({"reset": "after", "status": 500}, "only one of these goes"),
        ({"stall": 1, "reset": "before"}, "only one of these goes"),
        ({"table": "orders"}, "it does nothing"),
        ({}, "it does nothing"),
        (5, "Expected `object`"),
    ],
)
def test_fault_invalid_is_400_and_names_the_keys(
    emulator: Emulator, api: Client, fault: object, reason: str
) -> None:
    emulator.set_faults([{"status": 503}])

    answer = api.post("/_emulator/faults", [{"status": 500}, fault])

    assert answer.status == 400
    assert reason in answer.json["reasons"][0]
    assert answer.json["reasons"][1:] == [f"{key}: {text}" for key, text in KEYS.items()]
    assert emulator.faults() == [{"status": 503, "fired": 0}], "the faults that were set stay"
    with pytest.raises(ValueError, match=re.escape(reason)):
        emulator.set_faults([fault])  # type: ignore[list-item]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_faults_malformed_are_400(api: Client, body: bytes) -> None:
    assert api.call("POST", "/_emulator/faults", body).status == 400
