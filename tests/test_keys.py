"""Primary keys as text and back: what marks hold."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.test.utils import isolate_apps
from django.utils.safestring import mark_safe

from django_rjmetrics import keys
from tests.library.models import Book, Code, Loan, Restaurant, Slot, Tag, Token

SOME_ID = uuid.UUID("6e0c1bd6-4bb4-4c4f-8b5b-59f0a2a5a2b1")


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (7, "7"),
        (-7, "-7"),
        ("a b ", "a b "),
        ("☃", "☃"),
        (mark_safe("x"), "x"),
        (Tag.NEW, "new"),
        (Number.SEVEN, "7"),
        (SOME_ID, "6e0c1bd6-4bb4-4c4f-8b5b-59f0a2a5a2b1"),
        (Decimal("1.50"), "1.50"),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (("a,b", 3), '["a,b","3"]'),
        ((SOME_ID, "☃"), '["6e0c1bd6-4bb4-4c4f-8b5b-59f0a2a5a2b1","\\u2603"]'),
    ],
)
def test_encode_key(key: Any, text: str):
    assert keys.encode(key) == text


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (Book, 7),
        (Code, "a"),
        (Code, ""),
        (Code, "7"),
        (Code, '["not", "composite"]'),
        (Token, SOME_ID),
        (Restaurant, 3),
        (Slot, ("A", 3)),
        (Slot, ('"[,]"', -1)),
    ],
)
def test_decode_gives_back_what_encode_wrote(model: type[models.Model], key: Any):
    decoded = keys.decode(model, keys.encode(key))
    assert decoded == key
    assert type(decoded) is type(key)


@isolate_apps("tests.library")
@pytest.mark.parametrize(
    ("field", "key"),
    [
        (models.DateField(primary_key=True), dt.date(2026, 3, 1)),
        (models.DateTimeField(primary_key=True), dt.datetime(2026, 3, 1, 4, 5, 6, 789, tzinfo=dt.timezone.utc)),
        (models.DecimalField(primary_key=True, max_digits=9, decimal_places=2), Decimal("1.50")),
        (models.DurationField(primary_key=True), dt.timedelta(days=2, microseconds=3)),
        (models.ForeignKey(Token, primary_key=True, on_delete=models.CASCADE), SOME_ID),
        (models.OneToOneField(Loan, primary_key=True, on_delete=models.CASCADE), 12),
    ],
)
def test_decode_goes_by_the_key_field_s_type(field: models.Field, key: Any):
    model = type(
        "Keyed",
        (models.Model,),
        {"k": field, "__module__": __name__, "Meta": type("Meta", (), {"app_label": "library"})},
    )
    decoded = keys.decode(model, keys.encode(key))
    assert decoded == key
    assert type(decoded) is type(key)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "values"),
    [(Book, {"title": "x"}), (Code, {"code": "a b☃", "number": 1}), (Token, {"id": SOME_ID})],
)
def test_decode_reads_what_the_database_casts(model: type[models.Model], values: dict[str, Any]):
    made = model._base_manager.create(**values)
    table, column = (connection.ops.quote_name(name) for name in (model._meta.db_table, model._meta.pk.column))
    kind = "char" if connection.vendor == "mysql" else "text"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT CAST({column} AS {kind}) FROM {table}")
        [(text,)] = cursor.fetchall()
    assert keys.decode(model, text) == made.pk


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Book, "seven"),
        (Book, ""),
        (Token, "not a uuid"),
        (Slot, "A"),
        (Slot, "7"),
        (Slot, '{"room":"A"}'),
        (Slot, '["A"]'),
        (Slot, '["A","3","4"]'),
        (Slot, '["A","three"]'),
    ],
)
def test_decode_text_that_is_no_key(model: type[models.Model], text: str):
    with pytest.raises((ValueError, ValidationError)):
        keys.decode(model, text)


def test_digest_tells_apart_what_databases_hold_to_be_equal():
    texts = ["abc", "ABC", "abc ", "äbc", "a\u0308bc", "", "\ud800"]
    digests = {keys.digest(text) for text in texts}
    assert len(digests) == len(texts)
    assert {len(digest) for digest in digests} == {64}
