"""Primary keys as text and back.

A mark holds its record's key as the text of the column's value, a composite key as a JSON array of such texts:
what ``CAST(pk AS text)`` writes too, so that the database can append marks by itself. Keys are compared after
decoding, as Python values, since databases differ in what text they hold to be equal.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Hashable
from typing import Any, TypeAlias

from django.db.models import Field, ForeignKey, Model

Key: TypeAlias = Hashable


def encode(key: Any) -> str:
    """The text of a primary key's value; a tuple is a composite key."""
    if type(key) is int:
        return str(key)
    if isinstance(key, tuple):
        return json.dumps([encode(part) for part in key], separators=(",", ":"))
    if isinstance(key, enum.Enum):
        return encode(key.value)
    return str.__str__(key) if isinstance(key, str) else str(key)


def decode(model: type[Model], text: str) -> Key:
    """The primary key's value of ``model`` that ``encode`` or the database wrote as ``text``.

    Raises ValueError or ValidationError for a text that the key's field doesn't understand.
    """
    fields: list[Field[Any, Any]] = model._meta.pk_fields
    if len(fields) == 1:
        return _decode_part(fields[0], text)
    parts = json.loads(text)
    if not isinstance(parts, list) or len(parts) != len(fields):
        raise ValueError(f"{model._meta.label} has a key of {len(fields)} fields, as a JSON array.")
    return tuple(_decode_part(field, part) for field, part in zip(fields, parts, strict=True))


def _decode_part(field: Field[Any, Any], text: Any) -> Key:
    while isinstance(field, ForeignKey):
        field = field.target_field
    value: Key = field.to_python(text)
    return value


def digest(text: str) -> str:
    """64 hexadecimal digits that stand for a key's text where a database must find it exactly."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
