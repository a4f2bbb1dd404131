"""What Python's values become, by the function and through a mirror that reads them from the database."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.base import ContentFile
from django.db.models.fields.files import FieldFile
from django.http import QueryDict
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_rjmetrics import Mirror
from django_rjmetrics.exceptions import RecordError
from django_rjmetrics.values import Unsupported, encode, json_value
from tests.library.models import Author, Book, Colour, Loan, Slot, Tag


class Level(enum.IntEnum):
    HIGH = 3


class Rate(enum.Enum):
    FULL = Decimal("19.0")


class Text(str):
    def __str__(self) -> str:
        return "not this"


class Whole(int):
    def __str__(self) -> str:
        return "not this"


class Share(float):
    def __repr__(self) -> str:
        return "not this"


class Price(Decimal):
    def __str__(self) -> str:
        return "not this"


class Octets(bytes):
    pass


class Id(uuid.UUID):
    pass


class Day(dt.date):
    pass


class Moment(dt.datetime):
    pass


class Clock(dt.time):
    pass


class Span(dt.timedelta):
    pass


Pair = collections.namedtuple("Pair", "left right")
SOME_ID = "6e0c1bd6-4bb4-4c4f-8b5b-59f0a2a5a2b1"
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("value", "json_text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-(2**63), "-9223372036854775808"),
        (2**64 + 1, "18446744073709551617"),
        ("", '""'),
        ("naïve ☃ \U0001f600", '"naïve ☃ \U0001f600"'),
        ('"\\\n\x00', '"\\"\\\\\\n\\u0000"'),
        (Decimal("29.30"), "29.30"),
        (Decimal("0.1000000000000000055511151231257827"), "0.1000000000000000055511151231257827"),
        (Decimal("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
        (Decimal("1E+3"), "1E+3"),
        (Decimal("-0.00"), "-0.00"),
        (Decimal("NaN"), "null"),
        (Decimal("sNaN"), "null"),
        (Decimal("Infinity"), "null"),
        (Decimal("-Infinity"), "null"),
        (0.1, "0.1"),
        (1e300, "1e300"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (float("-inf"), "null"),
        (dt.date(2026, 3, 1), '"2026-03-01"'),
        (dt.date(33, 4, 3), '"0033-04-03"'),
        (dt.time(7, 8, 9), '"07:08:09"'),
        (dt.time(7, 8, 9, 999_999), '"07:08:09"'),
        (dt.time(7, 8, tzinfo=dt.timezone.utc), '"07:08:00"'),
        (dt.timedelta(days=1, seconds=2), "86402.0"),
        (dt.timedelta(milliseconds=-1500), "-1.5"),
        (uuid.UUID(SOME_ID), f'"{SOME_ID}"'),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"\x00\xff"), '"AP8="'),
        (memoryview(b"\x00\xff"), '"AP8="'),
        (b"", '""'),
        (gettext_lazy("Monday"), '"Monday"'),
        (lazy(lambda: mark_safe("<b>"), str)(), '"<b>"'),
        (mark_safe("<i>"), '"<i>"'),
        (Tag.NEW, '"new"'),
        (Level.HIGH, "3"),
        (Rate.FULL, "19.0"),
        (Text("this"), '"this"'),
        (Whole(5), "5"),
        (Share(0.5), "0.5"),
        (Price("1.50"), "1.50"),
        (Price("NaN"), "null"),
        (Octets(b"\x00\xff"), '"AP8="'),
        (Id(SOME_ID), f'"{SOME_ID}"'),
        (Day(2026, 3, 1), '"2026-03-01"'),
        (Moment(2026, 3, 1, tzinfo=dt.timezone.utc), '"2026-03-01 00:00:00"'),
        (Clock(1, 2, 3, 4), '"01:02:03"'),
        (Span(seconds=1), "1.0"),
        (FieldFile(None, Book._meta.get_field("cover"), "covers/1.png"), '"covers/1.png"'),
        (FieldFile(None, Book._meta.get_field("cover"), None), "null"),
        (Author(pk=7), "7"),
        (Author(), "null"),
        (Book(isbn=uuid.UUID(SOME_ID)).author, "null"),
    ],
)
def test_json_value_rule(value: Any, json_text: str):
    assert encode(json_value(value)).decode() == json_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2026, 7, 1, 12, 30, 15, 999_999, tzinfo=dt.timezone.utc), "2026-07-01 12:30:15"),
        (dt.datetime(2026, 7, 1, 12, 30, tzinfo=BERLIN), "2026-07-01 10:30:00"),
        (dt.datetime(2026, 1, 1, 0, 30, tzinfo=BERLIN), "2025-12-31 23:30:00"),
        (dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), "2026-10-25 00:30:00"),
        (dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), "2026-10-25 01:30:00"),
        # Naive: in TIME_ZONE, which is New York's.
        (dt.datetime(2026, 7, 1, 12, 30), "2026-07-01 16:30:00"),  # noqa: DTZ001
        (dt.datetime(2026, 12, 1, 12, 30), "2026-12-01 17:30:00"),  # noqa: DTZ001
        (dt.datetime(800, 12, 25, tzinfo=dt.timezone.utc), "0800-12-25 00:00:00"),
    ],
)
def test_json_value_of_datetime_is_utc(value: dt.datetime, expected: str):
    assert json_value(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ([], "[]"),
        ((1, "a"), '[1,"a"]'),
        (Pair(1, 2), "[1,2]"),
        (collections.OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (collections.defaultdict(list, a=[1]), '{"a":[1]}'),
        (collections.UserDict(a=1), '{"a":1}'),
        (QueryDict("a=1&a=2"), '{"a":"2"}'),
        ({"price": Decimal("1.10"), "at": dt.date(2026, 3, 1)}, '{"price":1.10,"at":"2026-03-01"}'),
        (
            {"deep": [{"nan": float("nan")}, (Decimal("NaN"), b"\x00\xff")]},
            '{"deep":[{"nan":null},[null,"AP8="]]}',
        ),
        ({1: "a", None: "b", 1.5: "c"}, '{"1":"a","null":"b","1.5":"c"}'),
        ({dt.date(2026, 3, 1): Tag.OLD, Tag.NEW: 1, mark_safe("x"): 2}, '{"2026-03-01":"old","new":1,"x":2}'),
        ({"ü": "☃"}, '{"ü":"☃"}'),
        ([2**70], "[1180591620717411303424]"),
    ],
)
def test_json_value_of_container_is_compact_json_text(value: Any, expected: str):
    assert json_value(value) == expected


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1}, "set"),
        (1j, "complex"),
        (object(), "object"),
        (print, "builtin_function_or_method"),
        (Colour(1, 2, 3), "Colour"),
        ({"a": [Colour(1, 2, 3)]}, "Colour"),
        ({Colour(1, 2, 3): 1}, "Colour"),
        (range(3), "range"),
        (ContentFile(b"secret"), "ContentFile"),
        (Book.objects.all(), "QuerySet"),
    ],
)
def test_json_value_of_other_type_is_unsupported_and_named(value: Any, name: str):
    with pytest.raises(Unsupported) as caught:
        json_value(value)
    assert str(caught.value) == name


def test_json_value_of_composite_key_is_json_text():
    assert json_value(Slot(room="A", hour=3)) == '["A",3]'


# Through a mirror.


def made(fields: list[str] | str, **attributes: Any) -> type[Mirror]:
    return type("ValuesMirror", (Mirror,), {"fields": fields, **attributes})


def point(mirror: Mirror, instance: Any) -> bytes | RecordError:
    [(key, found)] = mirror.data_points([instance.pk], "default")
    assert key == instance.pk
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("by_instance", [False, True])
def test_mirror_sends_every_kind_of_field(by_instance: bool):
    author = Author.objects.create(name="Ada")
    book = Book.objects.create(
        author=author,
        title="Ünï \U0001f600",
        tag=Tag.OLD,
        price=Decimal("12345678.1000"),
        weight=0.25,
        pages=2**63 - 1,
        in_print=False,
        published=dt.date(2026, 3, 1),
        sold_at=dt.datetime(2026, 7, 1, 12, 30, 15, 999_999, tzinfo=BERLIN),
        opens_at=dt.time(7, 8, 9, 123_456),
        loan=dt.timedelta(days=1, milliseconds=500),
        isbn=uuid.UUID(SOME_ID),
        cover="covers/1.png",
        blob=b"\x00\xff",
        extra={"a": [1, None, "☃"]},
    )
    # A method makes the mirror load instances, whose attributes can be of other types than the columns.
    extra: dict[str, Any] = {"shout": lambda self, book: book.title.upper()} if by_instance else {}
    names = [field.name for field in Book._meta.concrete_fields]
    mirror = made(names + list(extra), **extra)(Book)
    expected = (
        f'{{"keys":["id"],"id":{book.pk},"author_id":{author.pk},"title":"Ünï \U0001f600","tag":"old",'
        '"price":12345678.1000,"weight":0.25,"pages":9223372036854775807,"in_print":false,'
        '"published":"2026-03-01","sold_at":"2026-07-01 10:30:15","opens_at":"07:08:09","loan":86400.5,'
        f'"isbn":"{SOME_ID}","cover":"covers/1.png","blob":"AP8=","extra":"{{\\"a\\":[1,null,\\"☃\\"]}}"'
    )
    expected += ',"shout":"ÜNÏ \U0001f600"}' if by_instance else "}"
    found = point(mirror, book)
    assert isinstance(found, bytes)
    assert found.decode() == expected


@pytest.mark.django_db
@pytest.mark.parametrize("by_instance", [False, True])
def test_mirror_sends_null_for_every_kind_of_null(by_instance: bool):
    names = [field.name for field in Book._meta.concrete_fields if field.null]
    extra: dict[str, Any] = {"nothing": lambda self, book: None} if by_instance else {}
    found = point(made(names + list(extra), **extra)(Book), Book.objects.create(title="x"))
    assert isinstance(found, bytes)
    values = json.loads(found)
    del values["keys"], values["id"]
    assert len(values) == len(names) + len(extra) >= 9
    assert set(values.values()) == {None}


@pytest.mark.django_db
@pytest.mark.parametrize("by_instance", [False, True])
def test_mirror_sends_third_party_field_as_its_value_to_string(by_instance: bool):
    book = Book.objects.create(title="x")
    loan = Loan.objects.create(book=book, colour=Colour(255, 0, 1))
    plain = Loan.objects.create(book=book)
    extra: dict[str, Any] = {"nothing": lambda self, loan: None} if by_instance else {}
    mirror = made(["colour", *extra], **extra)(Loan)
    assert json.loads(point(mirror, loan))["colour"] == "#ff0001"  # type: ignore[arg-type]
    assert json.loads(point(mirror, plain))["colour"] is None  # type: ignore[arg-type]


@pytest.mark.django_db
def test_mirror_rejects_unknown_type_by_column_and_type_never_value():
    class Secretive:
        def __repr__(self) -> str:
            return "hunter2"

        __str__ = __repr__

    mirror = made(
        ["title", "thing"], thing=lambda self, book: {"a": [Secretive()]}, columns={"thing": "thing_sent"}
    )
    found = point(mirror(Book), Book.objects.create(title="x"))
    assert isinstance(found, RecordError)
    assert str(found) == (
        "thing_sent: a value of type test_mirror_rejects_unknown_type_by_column_and_type_never_value.<locals>."
        "Secretive can't be sent"
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("hunter2 \ud800", "thing: this str can't be sent: surrogates not allowed"),
        ({"hunter2": "\ud800"}, "thing: this dict can't be sent: surrogates not allowed"),
        (
            dt.datetime.max.replace(tzinfo=ZoneInfo("America/New_York")),
            "thing: this datetime can't be sent: OverflowError",
        ),
    ],
)
def test_mirror_rejects_value_that_json_cannot_hold(value: Any, told: str):
    found = point(made(["thing"], thing=lambda self, book: value)(Book), Book.objects.create(title="x"))
    assert isinstance(found, RecordError)
    assert str(found) == told


@pytest.mark.django_db
def test_mirror_rejects_value_that_contains_itself():
    loop: list[Any] = []
    loop.append(loop)
    found = point(made(["thing"], thing=lambda self, book: loop)(Book), Book.objects.create(title="x"))
    assert str(found) == "thing: this list can't be sent: RecursionError"


@pytest.mark.django_db
def test_mirror_rejects_nested_value_of_decoder_by_its_type():
    """JSONField's value_to_string() gives the value itself back, which is no text."""

    class Decoded(Mirror):
        fields = ["extra"]

    mirror = Decoded(Book)
    [column] = [column for column in mirror.plan.columns if column.name == "extra"]
    assert column.convert is not None
    with pytest.raises(Unsupported, match=r"^set$"):
        column.convert({"a": {1}})
