"""From a request's body to data points, or to the reasons why not. Pure functions, nothing stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from .messages import JSON, RequestError
from .store import Point

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_POINTS = 100

_TABLE = re.compile(r"[A-Za-z0-9_]+")

# Raw keeps every value as it was written: 29.30 is not 29.3 in a warehouse.
Fields: TypeAlias = "dict[str, msgspec.Raw]"

_POINTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_POINT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMES = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode


def check_table(name: str) -> None:
    """Raise RequestError unless ``name`` is a table name: letters, digits, underscore."""
    if not _TABLE.fullmatch(name):
        raise RequestError(400, "invalid table name", ["a table name is letters, digits and underscores"])


def check_size(body: bytes | None) -> bytes:
    """Return ``body``, or raise RequestError when it is too large (None: so large that it was not kept)."""
    if body is None or len(body) > MAX_BODY_BYTES:
        raise RequestError(413, "request too large", [f"a body has at most {MAX_BODY_BYTES} bytes"])
    return body


def check_content_type(content_type: str) -> None:
    """Raise RequestError unless the body is said to be JSON."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(400, "invalid content type", [f"the content type must be {JSON}"])


def parse_points(body: bytes) -> list[Point]:
    """Return the data points of a body: one object, or an array of 1 to 100 of them.

    Raises RequestError: too many or no points, malformed JSON, or points that are no data points; then the
    reasons name each faulty point by its index in the array.
    """
    elements = _decode(body)
    if len(elements) > MAX_POINTS:
        raise RequestError(400, "too many data points", [f"{len(elements)} of them, {MAX_POINTS} are allowed"])
    if not elements:
        raise RequestError(400, "no data points", ["the array is empty"])
    points = []
    reasons = []
    for index, fields in enumerate(elements):
        try:
            points.append(_point(fields))
        except ValueError as error:
            reasons.append(f"data point {index}: {error}")
    if reasons:
        raise RequestError(400, "invalid data points", reasons)
    return points


def _decode(body: bytes) -> Sequence[Fields | None]:
    """Return the fields of each element, None for one that is no object; all of it is well-formed JSON."""
    try:
        body.decode()
        try:
            return _POINTS.decode(body)
        except msgspec.ValidationError:
            if body.lstrip(b" \t\r\n").startswith(b"["):
                return [_fields(element) for element in _ELEMENTS.decode(body)]
            return [_fields(msgspec.json.decode(body, type=msgspec.Raw))]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, "invalid JSON", [str(error)]) from None
    except RecursionError:
        raise RequestError(400, "invalid JSON", ["it is nested too deeply"]) from None


def _fields(element: msgspec.Raw) -> Fields | None:
    try:
        return _POINT.decode(element)
    except msgspec.ValidationError:
        return None


def _point(fields: Fields | None) -> Point:
    if fields is None:
        raise ValueError("it is not an object")
    keys = fields.pop("keys", None)
    if keys is None:
        raise ValueError("`keys` is missing")
    key = ",".join([_key_value(name, fields) for name in _names(str(keys, "utf-8"))])
    return f"[{key}]", _encode(fields).decode()


@lru_cache(256)
def _names(keys: str) -> Sequence[str]:
    """Return the field names in the JSON of `keys`."""
    try:
        names = _NAMES.decode(keys)
    except msgspec.ValidationError:
        names = []
    if not names:
        raise ValueError("`keys` must be a non-empty list of field names")
    return names


def _key_value(name: str, fields: Fields) -> str:
    """Return the JSON text of one key's value, the same for the same value."""
    if name not in fields:
        raise ValueError(f"key `{name}` is not a field of it")
    value = str(fields[name], "utf-8")
    if value[0] in "n{[":
        raise ValueError(f"key `{name}` must be a string, a number or a boolean")
    if "\\" in value:  # one string can be escaped in several ways
        value = _encode(msgspec.json.decode(value)).decode()
    return value
