"""Python values to the values that a data point may hold, and data points to JSON bytes."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.utils import timezone
from django.utils.functional import Promise

JSONValue: TypeAlias = "bool | int | float | str | decimal.Decimal | None"

encode = msgspec.json.Encoder(decimal_format="number").encode


class Unsupported(TypeError):
    """No rule turns this type into a JSON value; the text is the type's name."""


def json_value(value: Any) -> JSONValue:
    """The value as a data point holds it: None, bool, int, float, str or a finite Decimal.

    Date-times become ``YYYY-MM-DD HH:MM:SS`` in UTC (a naive one is in TIME_ZONE), NaN and infinities null,
    timedeltas seconds, bytes base64, dicts and lists compact JSON text, a file its name, a model instance its
    key. Raises Unsupported for any other type, and OverflowError for a date-time that UTC can't express.
    """
    convert = _CONVERTERS.get(type(value))
    if convert is None:
        convert = _converter_of_kin(type(value))
    result: JSONValue = convert(value)
    return result


def _same(value: Any) -> Any:
    return value


def _datetime(value: dt.datetime) -> str:
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.get_default_timezone())
    return value.astimezone(dt.timezone.utc).replace(tzinfo=None).isoformat(" ", "seconds")


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode("ascii")


def _json_text(value: Any) -> str:
    return encode(_nested(value)).decode("utf-8")


def _nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_name(key): _nested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nested(item) for item in value]
    return json_value(value)


def _name(key: Any) -> str:
    name = json_value(key)
    return name if isinstance(name, str) else encode(name).decode()


_CONVERTERS: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {
        type(None): _same,
        bool: _same,
        int: _same,
        str: _same,
        # msgspec writes NaN and infinities of float as null, those of Decimal as invalid JSON.
        float: _same,
        decimal.Decimal: lambda value: value if value.is_finite() else None,
        dt.datetime: _datetime,
        dt.date: dt.date.isoformat,
        dt.time: lambda value: value.isoformat("seconds")[:8],
        dt.timedelta: dt.timedelta.total_seconds,
        uuid.UUID: str,
        bytes: _bytes,
        bytearray: _bytes,
        memoryview: _bytes,
        dict: _json_text,
        list: _json_text,
        tuple: _json_text,
    }
)

# Looked through in order: datetime before date, an enum before what it mixes in.
_KIN: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: json_value(value.value)),
    (Promise, lambda value: str.__str__(str(value))),
    (FieldFile, lambda value: value.name),
    (Model, lambda value: json_value(value.pk)),
    (str, str.__str__),
    (bool, bool),
    (int, int.__int__),
    (float, float.__float__),
    (decimal.Decimal, lambda value: json_value(decimal.Decimal(value))),
    (dt.datetime, _datetime),
    (dt.date, lambda value: dt.date.isoformat(value)),
    (dt.time, lambda value: dt.time.isoformat(value, "seconds")[:8]),
    (dt.timedelta, dt.timedelta.total_seconds),
    (uuid.UUID, str),
    ((bytes, bytearray), _bytes),
    ((Mapping, list, tuple), _json_text),
)


def _converter_of_kin(kind: type) -> Callable[[Any], Any]:
    for base, convert in _KIN:
        if issubclass(kind, base):
            return convert
    raise Unsupported(kind.__qualname__)
