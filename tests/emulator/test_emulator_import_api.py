"""What the emulator answers as the Import API: the checks in their order, and what is stored."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from django_rjmetrics.emulator import Emulator
from django_rjmetrics.emulator.validation import MAX_BODY_BYTES

from .http_client import Client, point

BASES = pytest.mark.parametrize("base", ["/v2", "/sandbox/v2"])


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/", "/sandbox/v2", "/sandbox/v2/", "/?a=b"])
def test_status_is_200(api: Client, path: str) -> None:
    answer = api.get(path)

    assert answer.status == 200
    assert answer.json["code"] == 200


def test_status_of_head_has_no_body(api: Client) -> None:
    answer = api.call("HEAD", "/")

    assert (answer.status, answer.body) == (200, b"")
    assert api.get("/").status == 200


@BASES
@pytest.mark.parametrize(
    ("client_id", "query", "status"),
    [
        ("1", "?apikey=emulator", 200),
        ("1", "?apikey=wrong", 401),
        ("1", "?apikey=", 401),
        ("1", "?apikey=%C3%A9", 401),
        ("1", "", 401),
        ("2", "?apikey=emulator", 404),
        ("01", "?apikey=emulator", 404),
        ("x", "?apikey=emulator", 404),
    ],
)
def test_authenticate_status(api: Client, base: str, client_id: str, query: str, status: int) -> None:
    answer = api.get(f"{base}/client/{client_id}/authenticate{query}")

    assert answer.status == status
    assert answer.json["code"] == status
    assert ("reasons" in answer.json) == (status != 200)


def test_credentials_of_ones_own() -> None:
    with Emulator(client_id=7, api_key="a b&c") as emulator, Client(emulator.url) as api:
        assert api.push(point(1), client_id="7", api_key="a b&c").status == 201
        assert api.push(point(1), client_id="7", api_key="emulator").status == 401
        assert api.push(point(1), client_id="1", api_key="a b&c").status == 404


@BASES
def test_push_answers_201_created(api: Client, base: str) -> None:
    answer = api.push(point(1), base=base)

    assert answer.status == 201
    assert answer.json == {"code": 201, "message": "created"}
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "path",
    ["/v3", "/v2/client/1", "/v2/client/1/table/orders", "/v2/client/1/table/a/b/data", "/sandbox", "/_emulatorx"],
)
def test_path_unknown_is_404(api: Client, path: str) -> None:
    answer = api.get(path)

    assert (answer.status, answer.json["code"]) == (404, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/client/1/table/orders/data?apikey=emulator", "POST"),
        ("PUT", "/v2/client/1/table/orders/data?apikey=emulator", "POST"),
        ("POST", "/v2/client/1/authenticate?apikey=emulator", "GET"),
        ("DELETE", "/", "GET"),
    ],
)
def test_method_wrong_is_405(api: Client, method: str, path: str, allowed: str) -> None:
    answer = api.call(method, path)

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


# Each request has its own fault and every fault that is checked later.
TOO_LARGE = b"[" + b" " * MAX_BODY_BYTES


@BASES
@pytest.mark.parametrize(
    ("client_id", "api_key", "table", "body", "content_type", "status", "message"),
    [
        ("2", "wrong", "a-b", TOO_LARGE, "text/plain", 404, "not found"),
        ("1", "wrong", "a-b", TOO_LARGE, "text/plain", 401, "unauthorized"),
        ("1", None, "a-b", TOO_LARGE, "text/plain", 401, "unauthorized"),
        ("1", "emulator", "a-b", TOO_LARGE, "text/plain", 400, "invalid table name"),
        ("1", "emulator", "orders", TOO_LARGE, "text/plain", 413, "request too large"),
        ("1", "emulator", "orders", b"[", "text/plain", 400, "invalid content type"),
        ("1", "emulator", "orders", b"[", None, 400, "invalid content type"),
        ("1", "emulator", "orders", b"[1, ", "application/json", 400, "invalid JSON"),
        ("1", "emulator", "orders", b"[" + b"1," * 100 + b"1]", "application/json", 400, "too many data points"),
        ("1", "emulator", "orders", b"[]", "application/json", 400, "no data points"),
        ("1", "emulator", "orders", b"[1]", "application/json", 400, "invalid data points"),
    ],
)
def test_check_order(
    emulator: Emulator,
    api: Client,
    base: str,
    client_id: str,
    api_key: str | None,
    table: str,
    body: bytes,
    content_type: str | None,
    status: int,
    message: str,
) -> None:
    answer = api.push(body, table, base=base, client_id=client_id, api_key=api_key, content_type=content_type)

    assert (answer.status, answer.json["code"], answer.json["message"]) == (status, status, message)
    assert answer.json["reasons"]
    assert emulator.tables() == {}
    assert api.get("/").status == 200, "the connection can be used again"


@pytest.mark.parametrize("table", ["a-b", "a%20b", "a%2Fb", "", "%C3%A9", "a.b", "a%0A"])
def test_table_name_invalid_is_400(api: Client, table: str) -> None:
    answer = api.push(point(1), table)

    assert (answer.status, answer.json["message"]) == (400, "invalid table name")


@pytest.mark.parametrize("table", ["orders", "Orders", "ORDERS_2", "_", "9", "select"])
def test_table_name_valid_is_kept_as_it_is(emulator: Emulator, api: Client, table: str) -> None:
    assert api.push(point(1), table).status == 201
    assert emulator.tables() == {table: 1}


def test_table_names_differ_in_case(emulator: Emulator, api: Client) -> None:
    api.push(point(1), "orders")
    api.push([point(1), point(2)], "Orders")

    assert emulator.tables() == {"orders": 1, "Orders": 2}


def test_size_at_the_limit_is_taken(emulator: Emulator, api: Client) -> None:
    body = json.dumps(point(1)).encode()

    assert api.push(body + b" " * (MAX_BODY_BYTES - len(body))).status == 201
    assert api.push(body + b" " * (MAX_BODY_BYTES - len(body) + 1)).status == 413


def test_points_100_are_taken_and_101_are_not(emulator: Emulator, api: Client) -> None:
    assert api.push([point(n) for n in range(100)]).status == 201
    assert api.push([point(n) for n in range(200, 301)]).status == 400
    assert emulator.tables() == {"orders": 100}


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_type_with_parameters_is_taken(api: Client, content_type: str) -> None:
    assert api.push(point(1), content_type=content_type).status == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"keys":["id"],"id":NaN}',
        b'{"keys":["id"],"id":1,"a":Infinity}',
        b'{"keys":["id"],"id":01}',
        b'{"keys":["id"],"id":"\xff"}',
        b'{"keys":["id"],"id":1} {}',
        b"[" * 100_000,
    ],
)
def test_json_malformed_is_400(api: Client, body: bytes) -> None:
    answer = api.push(body)

    assert (answer.status, answer.json["message"]) == (400, "invalid JSON")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1, "it is not an object"),
        ([], "it is not an object"),
        (None, "it is not an object"),
        ({"id": 1}, "`keys` is missing"),
        ({"keys": [], "id": 1}, "`keys` must be a non-empty list of field names"),
        ({"keys": "id", "id": 1}, "`keys` must be a non-empty list of field names"),
        ({"keys": None, "id": 1}, "`keys` must be a non-empty list of field names"),
        ({"keys": [1], "id": 1}, "`keys` must be a non-empty list of field names"),
        ({"keys": ["sku"], "id": 1}, "key `sku` is not a field of it"),
        ({"keys": ["keys"], "id": 1}, "key `keys` is not a field of it"),
        ({"keys": ["id"], "id": None}, "key `id` must be a string, a number or a boolean"),
        ({"keys": ["id"], "id": [1]}, "key `id` must be a string, a number or a boolean"),
        ({"keys": ["id"], "id": {}}, "key `id` must be a string, a number or a boolean"),
    ],
)
def test_point_invalid_is_400_with_its_index(api: Client, value: object, reason: str) -> None:
    answer = api.push([point(1), value, point(2), {}])

    assert answer.status == 400
    assert answer.json["reasons"] == [f"data point 1: {reason}", "data point 3: `keys` is missing"]


@pytest.mark.parametrize("body", [b"5", b"null", b'"text"'])
def test_point_alone_that_is_no_object_is_400(api: Client, body: bytes) -> None:
    answer = api.push(body)

    assert (answer.status, answer.json["reasons"]) == (400, ["data point 0: it is not an object"])


def test_batch_with_one_bad_point_stores_nothing(emulator: Emulator, api: Client) -> None:
    api.push(point(1, total=1))

    assert api.push([point(1, total=2), point(2), {"id": 3}]).status == 400
    assert emulator.rows("orders") == [{"id": 1, "total": 1}]


def test_upsert_replaces_the_whole_row(emulator: Emulator, api: Client) -> None:
    api.push([point(1, total=5, note="x"), point(2)])
    api.push(point(1, note="y"))

    assert emulator.rows("orders") == [{"id": 1, "note": "y"}, {"id": 2}]


def test_upsert_same_key_twice_keeps_the_last(emulator: Emulator, api: Client) -> None:
    assert api.push([point(1, note="first"), point(2), point(1, note="last")]).status == 201
    assert emulator.rows("orders") == [{"id": 1, "note": "last"}, {"id": 2}]


def test_rows_keep_numbers_as_they_were_written(emulator: Emulator, api: Client) -> None:
    api.push(
        b'{"keys": ["id"], "id": 1, "price": 29.30, "big": 1E+5, "huge": 123456789012345678901234567890,'
        b' "tiny": 0.1000000000000000055511151231257827, "nested": {"a": [1.50]}, "none": null}'
    )

    assert api.get("/_emulator/tables/orders").body == (
        b'[{"id":1,"price":29.30,"big":1E+5,"huge":123456789012345678901234567890,'
        b'"tiny":0.1000000000000000055511151231257827,"nested":{"a": [1.50]},"none":null}]'
    )
    (row,) = emulator.rows("orders")
    assert str(row["price"]) == "29.30"
    assert str(row["big"]) == "1E+5"
    assert row["huge"] == 123456789012345678901234567890
    assert row["tiny"] == Decimal("0.1000000000000000055511151231257827")
    assert row["none"] is None


@pytest.mark.parametrize(
    ("keys", "first", "second", "rows"),
    [
        (["id"], b'"id": 1', b'"id": "1"', 2),
        (["id"], b'"id": true', b'"id": 1', 2),
        (["id"], b'"id": "abc"', b'"id": "ABC"', 2),
        (["id"], b'"id": "abc"', b'"id": "abc "', 2),
        (["id"], b'"id": "a/\xc3\xa9"', rb'"id": "\u0061\/\u00e9"', 1),
        (["id"], b'"id": 12345678901234567890123', b'"id": 12345678901234567890124', 2),
        (["a", "b"], b'"a": "x,y", "b": "z"', b'"a": "x", "b": "y,z"', 2),
        (["a", "b"], b'"a": 1, "b": 2', b'"b": 2, "a": 1', 1),
        (["a", "b"], b'"a": 1, "b": 2', b'"a": 2, "b": 1', 2),
    ],
)
def test_key_identity(
    emulator: Emulator, api: Client, keys: list[str], first: bytes, second: bytes, rows: int
) -> None:
    names = json.dumps(keys).encode()
    for fields in (first, second):
        assert api.push(b'{"keys": %b, %b}' % (names, fields)).status == 201

    assert emulator.tables() == {"orders": rows}


def test_key_is_apart_in_each_table(emulator: Emulator, api: Client) -> None:
    api.push(point(1), "orders")
    api.push(point(1), "customers")

    assert emulator.tables() == {"customers": 1, "orders": 1}


def test_sandbox_stores_nothing(emulator: Emulator, api: Client) -> None:
    assert api.push([point(1), point(2)], base="/sandbox/v2").status == 201

    assert emulator.tables() == {}
    assert emulator.stats()["requests"] == 0
    assert emulator.stats()["sandbox"] == {"requests": 1, "data_points": 2, "statuses": {"201": 1}}


def test_answer_never_repeats_the_key(api: Client) -> None:
    bodies = [
        api.push(point(1), api_key="s3cr3t-guess").body,
        api.call("TRACE", "/v2/client/1/authenticate?apikey=s3cr3t-guess").body,
        api.get("/v2/client/9/authenticate?apikey=s3cr3t-guess").body,
    ]

    assert not any(b"s3cr3t" in body for body in bodies)
