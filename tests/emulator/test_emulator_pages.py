"""What lies under /_emulator: the JSON for tests, the pages for people."""

from __future__ import annotations

import re

import pytest

from django_rjmetrics.emulator import Emulator

from .http_client import Client, point


def push_rows(api: Client, count: int, table: str = "orders") -> None:
    for start in range(0, count, 100):
        assert api.push([point(n) for n in range(start, min(start + 100, count))], table).status == 201


def test_tables_are_counted(emulator: Emulator, api: Client) -> None:
    assert api.get("/_emulator/tables").json == {}
    push_rows(api, 3)
    push_rows(api, 2, "customers")

    assert api.get("/_emulator/tables").json == {"customers": 2, "orders": 3} == emulator.tables()


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", range(5_000)),
        ("?limit=3", range(3)),
        ("?limit=3&offset=4998", range(4_998, 5_000)),
        ("?offset=2500", range(2_500, 5_000)),
        ("?offset=5000", range(0)),
        ("?limit=0", range(0)),
        ("?limit=9223372036854775807&offset=4999", range(4_999, 5_000)),
    ],
)
def test_rows_limit_and_offset(api: Client, query: str, ids: range) -> None:
    push_rows(api, 5_000)
    push_rows(api, 1, "customers")

    answer = api.get(f"/_emulator/tables/orders{query}")

    assert answer.status == 200
    assert [row["id"] for row in answer.json] == list(ids)


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=", "offset=1.5", "offset=99999999999999999999"])
def test_rows_parameter_invalid_is_400(api: Client, query: str) -> None:
    push_rows(api, 1)

    answer = api.get(f"/_emulator/tables/orders?{query}")

    assert answer.status == 400
    assert answer.json["reasons"] == [f"{query.partition('=')[0]} must be a whole number, 0 or more"]


def test_rows_of_an_unknown_table(emulator: Emulator, api: Client) -> None:
    assert api.get("/_emulator/tables/orders").status == 404
    assert emulator.rows("orders") == []


def test_stats_count_pushes_only(emulator: Emulator, api: Client) -> None:
    api.get("/")
    api.get("/v2/client/1/authenticate?apikey=emulator")
    api.push([point(1), point(2)])
    api.push([point(1), {}])
    api.push(point(1), api_key="wrong")

    expected = {
        "requests": 3,
        "data_points": 2,
        "statuses": {"201": 1, "400": 1, "401": 1},
        "sandbox": {"requests": 0, "data_points": 0, "statuses": {}},
    }
    assert api.get("/_emulator/stats").json == expected == emulator.stats()


def test_reset_empties_everything(emulator: Emulator, api: Client) -> None:
    api.push(point(1))
    emulator.set_faults([{"status": 500}])

    assert api.post("/_emulator/reset").status == 200
    assert (emulator.tables(), emulator.faults(), emulator.stats()["requests"]) == ({}, [], 0)


def test_arrivals_are_off_by_default(emulator: Emulator, api: Client) -> None:
    assert api.get("/_emulator/arrivals").status == 404
    with pytest.raises(RuntimeError, match="record_arrivals"):
        emulator.arrivals()


def test_arrivals_tell_what_was_stored_in_order() -> None:
    with Emulator(record_arrivals=True) as emulator, Client(emulator.url) as api:
        api.push([point(1, n=1), {"keys": ["a", "b"], "a": "x", "b": 2}])
        api.push([point(1), {}])
        api.push(point(1), base="/sandbox/v2")
        api.push(point(1, n=2), "customers")

        arrivals = api.get("/_emulator/arrivals").json
        assert arrivals == [
            {"seq": 1, "request": 1, "table": "orders", "key": [1], "row": {"id": 1, "n": 1}},
            {"seq": 2, "request": 1, "table": "orders", "key": ["x", 2], "row": {"a": "x", "b": 2}},
            {"seq": 3, "request": 2, "table": "customers", "key": [1], "row": {"id": 1, "n": 2}},
        ]
        assert emulator.arrivals() == arrivals
        assert api.get("/_emulator/arrivals?since=2").json == arrivals[2:]
        assert api.get("/_emulator/arrivals?since=3").json == []
        assert api.get("/_emulator/arrivals?since=x").status == 400

        emulator.reset()
        api.push(point(9))
        assert [arrival["seq"] for arrival in emulator.arrivals(since=3)] == [4]


@pytest.mark.parametrize("path", ["nothing", "stats/x", "tables/orders/x", "reset/x"])
def test_control_path_unknown_is_404(api: Client, path: str) -> None:
    assert api.get(f"/_emulator/{path}").status == 404


@pytest.mark.parametrize(("method", "path"), [("GET", "reset"), ("POST", "stats"), ("DELETE", "faults")])
def test_control_method_wrong_is_405(api: Client, method: str, path: str) -> None:
    assert api.call(method, f"/_emulator/{path}").status == 405


def test_page_without_tables_says_so(api: Client) -> None:
    answer = api.get("/_emulator/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Nothing was pushed yet." in answer.text


@pytest.mark.parametrize("path", ["/_emulator", "/_emulator/"])
def test_page_lists_tables_counts_and_faults(emulator: Emulator, api: Client, path: str) -> None:
    push_rows(api, 1_200)
    emulator.set_faults([{"status": 503, "contains": "<poison>"}])

    text = api.get(path).text

    assert '<a href="/_emulator/?table=orders">orders</a></td><td class="number">1,200</td>' in text
    assert "<b>201</b> 12" in text
    assert "&lt;poison&gt;" in text


def test_page_of_a_table_shows_values_by_kind(api: Client) -> None:
    api.push(b'{"keys":["id"],"id":1,"total":29.30,"a":null,"b":"","c":true,"d":{"x": 1.50},"e":"text"}')
    api.push(b'{"keys":["id"],"id":2}')

    text = api.get("/_emulator/?table=orders").text

    assert '<th class="number">total</th>' in text
    assert '<td class="number">29.30</td>' in text
    assert '<td class="null">null</td><td class="null">""</td><td class="code">true</td>' in text
    assert '<td class="code">{&quot;x&quot;: 1.50}</td><td>text</td>' in text
    assert '<td class="number">2</td><td></td>' in text


def test_page_escapes_everything(api: Client) -> None:
    attack = "\"'><script>alert(1)</script>" * 3
    api.push({"keys": ["id"], "id": attack, attack: [attack], "lone": "&amp;"})

    for path in ("?table=orders", "?table=%22'%3E%3Cscript%3Ealert(1)", ""):
        assert "<script" not in api.get(f"/_emulator/{path}").text
    text = api.get("/_emulator/?table=orders").text
    assert "&amp;amp;" in text
    assert "&quot;&#x27;&gt;&lt;script&gt;" in text


def test_page_clips_long_values(api: Client) -> None:
    api.push(point(1, note="x" * 10_000))

    text = api.get("/_emulator/?table=orders").text

    assert f">{'x' * 39}…</td>" in text
    assert f'title="{"x" * 1_999}…"' in text


def ids_of(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'index number">\d+</td><td class="number">(\d+)</td>', text)]


@pytest.mark.parametrize(
    ("page", "ids"),
    [
        ("1", range(50)),
        ("2", range(50, 100)),
        ("3", range(100, 120)),
        ("4", range(100, 120)),
        ("0", range(50)),
        ("x", range(50)),
    ],
)
def test_page_of_a_table_is_paged(api: Client, page: str, ids: range) -> None:
    push_rows(api, 120)
    api.push(point(60, note="updated"))

    text = api.get(f"/_emulator/?table=orders&page={page}").text

    assert ids_of(text) == list(ids)
    assert f"Rows {ids[0] + 1} to {ids[-1] + 1} of 120" in text
    assert ("page=2" in text) == (ids[0] != 50)


def test_page_of_an_unknown_table_is_404(api: Client) -> None:
    answer = api.get("/_emulator/?table=nothing")

    assert answer.status == 404
    assert "No such table" in answer.text


def test_page_fetches_nothing(api: Client) -> None:
    push_rows(api, 1)

    for path in ("", "?table=orders"):
        answer = api.get(f"/_emulator/{path}")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"src=|<link|@import|url\(|https?://", answer.text)
        assert "prefers-color-scheme: dark" in answer.text
