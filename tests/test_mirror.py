"""Rows to data points and tombstones."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, F, Model, QuerySet, signals
from django.db.models.functions import Upper

from django_rjmetrics import Mirror
from django_rjmetrics.clock import SECOND
from django_rjmetrics.exceptions import RecordError
from django_rjmetrics.pending.claims import Marked
from tests.library.models import Author, Book, Code, Colour, Loan, Place, PlaceProxy, Restaurant, Slot, Token

pytestmark = pytest.mark.django_db


def made(model: type[Model], **attributes: Any) -> Mirror:
    return type("RowsMirror", (Mirror,), attributes)(model)


def points(mirror: Mirror, keys: Iterable[Any]) -> dict[Any, dict[str, Any] | str]:
    """The data points by key; the text of those that can't be sent."""
    found = list(mirror.data_points(list(keys), "default"))
    assert len(dict(found)) == len(found)
    return {
        key: str(point) if isinstance(point, RecordError) else json.loads(point, parse_float=Decimal)
        for key, point in found
    }


def test_defaults_of_a_mirror():
    mirror = made(Book, fields=["title"])
    assert mirror.table_name == "library_book"
    assert mirror.label == "library.Book"
    assert repr(mirror) == "<RowsMirror of library.Book>"
    assert (mirror.on_delete, mirror.deleted_column) == ("ignore", "deleted_at")


def test_data_point_of_default_key():
    book = Book.objects.create(title="a")
    assert points(made(Book, fields=["title"]), [book.pk]) == {
        book.pk: {"keys": ["id"], "id": book.pk, "title": "a"}
    }


def test_data_point_of_other_keys():
    Code.objects.create(code="a", number=5, note="n")
    mirror = made(Code, fields=["note"], keys=["number"])
    assert points(mirror, ["a"]) == {"a": {"keys": ["number"], "number": 5, "note": "n"}}


def test_data_point_of_renamed_key():
    Code.objects.create(code="a", number=5)
    mirror = made(Code, fields=["code", "number"], keys=["number", "code"], columns={"number": "no"})
    assert points(mirror, ["a"]) == {"a": {"keys": ["no", "code"], "code": "a", "no": 5}}


def test_data_point_of_composite_key():
    for hour in range(3):
        Slot.objects.create(room="A", hour=hour)
    mirror = made(Slot, fields=["taken"])
    assert points(mirror, [("A", 1), ("A", 2), ("B", 1)]) == {
        ("A", 1): {"keys": ["room", "hour"], "room": "A", "hour": 1, "taken": False},
        ("A", 2): {"keys": ["room", "hour"], "room": "A", "hour": 2, "taken": False},
    }


def test_data_points_and_tombstones_of_a_full_page_of_composite_keys():
    Slot.objects.bulk_create(Slot(room="A", hour=hour) for hour in range(1000))
    keys = [("A", hour) for hour in range(1000)]
    assert len(points(made(Slot, fields=["taken"]), keys)) == 1000
    other = made(Slot, fields=["taken"], keys=["hour"], on_delete="tombstone")
    assert len(tombstones(other, dict.fromkeys(keys, marked()))) == 1000


def test_data_point_of_uuid_key():
    token = Token.objects.create()
    assert points(made(Token, fields=["id"]), [token.pk]) == {token.pk: {"keys": ["id"], "id": str(token.pk)}}


def test_data_point_of_child_of_another_model():
    place = Restaurant.objects.create(name="a", stars=3)
    assert points(made(Restaurant, fields=["name", "stars"]), [place.pk]) == {
        place.pk: {"keys": ["place_ptr_id"], "place_ptr_id": place.pk, "name": "a", "stars": 3}
    }


def test_data_point_of_proxy():
    place = Place.objects.create(name="a")
    assert points(made(PlaceProxy, fields=["name"]), [place.pk]) == {
        place.pk: {"keys": ["id"], "id": place.pk, "name": "a"}
    }


def test_data_point_of_generated_field():
    loan = Loan.objects.create(book=Book.objects.create(title="a"), days=2)
    assert points(made(Loan, fields=["hours"]), [loan.pk])[loan.pk] == {"keys": ["id"], "id": loan.pk, "hours": 48}


@pytest.mark.parametrize("with_method", [False, True])
def test_data_point_of_lookups(with_method: bool):
    author = Author.objects.create(name="Ada")
    loan = Loan.objects.create(book=Book.objects.create(title="a", author=author))
    names = ["book", "book__author", "book__author__name", "book__title"]
    extra: dict[str, Any] = {"nothing": lambda self, loan: None} if with_method else {}
    mirror = made(Loan, fields=[*names, *extra], columns={"book__author__name": "writer"}, **extra)
    found = points(mirror, [loan.pk])[loan.pk]
    assert isinstance(found, dict)
    found.pop("nothing", None)
    assert found == {
        "keys": ["id"],
        "id": loan.pk,
        "book_id": loan.book_id,
        "book_author_id": author.pk,
        "writer": "Ada",
        "book_title": "a",
    }


@pytest.mark.parametrize("with_method", [False, True])
def test_data_point_of_lookups_on_nothing_is_null(with_method: bool):
    """And the row is not lost to an inner join."""
    loan = Loan.objects.create(book=Book.objects.create(title="a"))
    place = Place.objects.create(name="p")
    extra: dict[str, Any] = {"nothing": lambda self, row: None} if with_method else {}
    found = points(made(Loan, fields=["book__author", "book__author__name", *extra], **extra), [loan.pk])[loan.pk]
    assert isinstance(found, dict)
    assert (found["book_author_id"], found["book_author_name"]) == (None, None)
    found = points(made(Place, fields=["restaurant__stars", *extra], **extra), [place.pk])[place.pk]
    assert isinstance(found, dict)
    assert found["restaurant_stars"] is None


def test_data_point_of_method_and_annotation():
    class AuthorMirror(Mirror):
        fields = ["name", "books", "shout", "loud", "static"]
        columns = {"shout": "shouted"}

        def get_queryset(self) -> QuerySet[Author]:
            return Author.objects.annotate(books=Count("book"), loud=Upper("name"))

        def shout(self, author: Author) -> str:
            return f"{author.name}! {author.books}"  # type: ignore[attr-defined]

        @staticmethod
        def static(author: Author) -> Decimal:
            return Decimal("1.50")

    author = Author.objects.create(name="Ada")
    Book.objects.create(title="a", author=author)
    Book.objects.create(title="b", author=author)
    assert points(AuthorMirror(Author), [author.pk]) == {
        author.pk: {
            "keys": ["id"],
            "id": author.pk,
            "name": "Ada",
            "books": 2,
            "shouted": "Ada! 2",
            "loud": "ADA",
            "static": Decimal("1.50"),
        }
    }


def test_data_points_leave_out_rows_out_of_scope():
    class InPrint(Mirror):
        fields = ["title"]

        def get_queryset(self) -> QuerySet[Book]:
            return Book.objects.filter(in_print=True).order_by("title")

    kept, gone = (Book.objects.create(title="x", in_print=in_print) for in_print in (True, False))
    assert list(points(InPrint(Book), [kept.pk, gone.pk, 0])) == [kept.pk]


def test_data_points_are_of_all_rows_whatever_the_default_manager_hides(monkeypatch: pytest.MonkeyPatch):
    class Hiding(type(Book.objects)):  # type: ignore[misc]
        def get_queryset(self) -> QuerySet[Book]:
            return super().get_queryset().none()

    hiding = Hiding()
    hiding.model = Book
    monkeypatch.setattr(Book._meta, "default_manager", hiding, raising=False)
    book = Book.objects.create(title="a")
    assert list(points(made(Book, fields=["title"]), [book.pk])) == [book.pk]


@pytest.mark.parametrize("with_method", [False, True])
def test_data_points_of_a_page_take_one_query(django_assert_num_queries: Any, with_method: bool):
    author = Author.objects.create(name="Ada")
    books = [Book.objects.create(title="a", author=author, cover="c.png") for _ in range(5)]
    extra: dict[str, Any] = {"nothing": lambda self, book: None} if with_method else {}
    mirror = made(Book, fields=["title", "author", "author__name", "cover", "price", *extra], **extra)
    with django_assert_num_queries(1):
        assert len(points(mirror, [book.pk for book in books])) == 5


@pytest.mark.parametrize(
    "narrow",
    [
        lambda rows: rows.only("title"),
        lambda rows: rows.defer("price", "tag"),
        lambda rows: rows.select_related("author").only("title", "author__id"),
        lambda rows: rows.only("author"),
    ],
)
def test_data_points_of_deferring_queryset_take_one_query_too(django_assert_num_queries: Any, narrow: Any):
    class BookMirror(Mirror):
        fields = ["title", "price", "tag", "cover", "author", "author__name", "shout"]

        def get_queryset(self) -> QuerySet[Book]:
            return narrow(Book.objects.all())

        def shout(self, book: Book) -> int:
            return book.pk

    author = Author.objects.create(name="Ada")
    books = [Book.objects.create(title="a", author=author, price="1.5", cover="c.png") for _ in range(5)]
    with django_assert_num_queries(1):
        found = points(BookMirror(Book), [book.pk for book in books])
    assert found[books[0].pk] == {
        "keys": ["id"],
        "id": books[0].pk,
        "title": "a",
        "price": Decimal("1.5000"),
        "tag": "new",
        "cover": "c.png",
        "author_id": author.pk,
        "author_name": "Ada",
        "shout": books[0].pk,
    }


@pytest.mark.parametrize(("with_method", "instances"), [(False, 0), (True, 2)])
def test_data_points_of_plain_columns_load_no_instance(with_method: bool, instances: int):
    books = [Book.objects.create(title="a") for _ in range(2)]
    extra: dict[str, Any] = {"nothing": lambda self, book: None} if with_method else {}
    mirror = made(Book, fields=["title", "price", "author__name", *extra], **extra)
    loaded: list[Any] = []

    def count(instance: Book, **kwargs: Any) -> None:
        loaded.append(instance)

    signals.post_init.connect(count, sender=Book)
    try:
        assert len(points(mirror, [book.pk for book in books])) == 2
    finally:
        signals.post_init.disconnect(count, sender=Book)
    assert len(loaded) == instances


def test_method_that_raises_costs_its_own_record():
    def shout(self: Mirror, book: Book) -> str:
        if book.title == "bad":
            raise ValueError("no voice")
        if book.title == "worse":
            raise KeyError
        return book.title.upper()

    books = {title: Book.objects.create(title=title).pk for title in ("a", "bad", "b", "worse")}
    mirror = made(Book, fields=["shout"], columns={"shout": "shouted"}, shout=shout)
    found = points(mirror, books.values())
    assert found[books["bad"]] == "shout() raised ValueError: no voice"
    assert found[books["worse"]] == "shout() raised KeyError"
    assert {json.dumps(found[books[title]]["shouted"]) for title in "ab"} == {'"A"', '"B"'}  # type: ignore[index]


def test_null_in_key_costs_its_own_record():
    author = Author.objects.create(name="Ada")
    with_key, without = (Book.objects.create(title="x", author=who) for who in (author, None))
    found = points(made(Book, fields=["title"], keys=["author"]), [with_key.pk, without.pk])
    assert found[without.pk] == "the key column author_id is null"
    assert found[with_key.pk] == {"keys": ["author_id"], "author_id": author.pk, "title": "x"}


def test_plan_of_a_mistake_raises_its_first_problem():
    with pytest.raises(ImproperlyConfigured) as caught:
        made(Code, fields=["nomber"]).plan  # noqa: B018
    assert str(caught.value) == (
        "RowsMirror (library.Code): fields: 'nomber' is not a field, an annotation or a method of library.Code, "
        "whose fields are: code, note, number. Correct the name, or drop it from fields. (rjmetrics.E011)"
    )


# shows()


def annotated(self: Mirror) -> QuerySet[Any]:
    return Book.objects.annotate(double=F("pages") * 2)


@pytest.mark.parametrize(
    ("attributes", "update_fields", "expected"),
    [
        ({"fields": ["title"]}, None, True),
        ({"fields": ["title"]}, ["title"], True),
        ({"fields": ["title"]}, ["pages"], False),
        ({"fields": ["title"]}, ["pages", "title"], True),
        ({"fields": ["author"]}, ["author"], True),
        ({"fields": ["author"]}, ["author_id"], True),
        ({"fields": ["author__name"]}, ["author"], True),
        ({"fields": ["author__name"]}, ["title"], False),
        ({"fields": ["title"], "keys": ["isbn"]}, ["isbn"], True),
        ({"fields": "__all__", "exclude": ["pages"]}, ["pages"], False),
        # A method or a queryset of the user's may look at anything, unless it is said what.
        ({"fields": ["shout"]}, ["pages"], True),
        ({"fields": ["shout"], "reads": {"shout": ["title"]}}, ["pages"], False),
        ({"fields": ["shout"], "reads": {"shout": ["title"]}}, ["title"], True),
        ({"fields": ["shout"], "reads": {"shout": []}}, ["title"], False),
        ({"fields": ["title"], "get_queryset": annotated}, ["pages"], True),
        ({"fields": ["title"], "get_queryset": annotated, "reads": {"get_queryset": ["pages"]}}, ["tag"], False),
        ({"fields": ["title"], "get_queryset": annotated, "reads": {"get_queryset": ["pages"]}}, ["pages"], True),
        ({"fields": ["double"], "get_queryset": annotated, "reads": {"get_queryset": ["tag"]}}, ["pages"], True),
        (
            {
                "fields": ["double"],
                "get_queryset": annotated,
                "reads": {"get_queryset": ["tag"], "double": ["pages"]},
            },
            ["weight"],
            False,
        ),
        # A mistake is for a check to tell, not for the writer to trip over.
        ({"fields": ["nonsense"]}, ["title"], True),
    ],
)
def test_shows(attributes: dict[str, Any], update_fields: list[str] | None, expected: bool):
    mirror = made(Book, shout=lambda self, book: "", **attributes)
    assert mirror.shows(update_fields) is expected


def test_shows_what_a_generated_field_is_made_from():
    mirror = made(Loan, fields=["hours"])
    assert mirror.shows(["days"])
    assert mirror.shows(["book"]) is (django.VERSION < (6, 0))


# Tombstones

WHEN = dt.datetime(2026, 3, 1, 4, 5, 6, tzinfo=dt.timezone.utc)


def marked(text: str = "", tombstone_keys: str | None = None) -> Marked:
    return Marked(text, until=int(WHEN.timestamp()) * SECOND, tombstone_keys=tombstone_keys)


def tombstones(mirror: Mirror, gone: dict[Any, Marked]) -> dict[Any, Any]:
    return {
        key: str(point) if isinstance(point, RecordError) else json.loads(point, parse_float=Decimal)
        for key, point in mirror.tombstones(gone, "default")
    }


@pytest.mark.parametrize(
    ("model", "key", "columns"),
    [
        (Book, 7, {"id": 7}),
        (Code, "a", {"code": "a"}),
        (Token, uuid.UUID(int=1), {"id": "00000000-0000-0000-0000-000000000001"}),
        (Slot, ("A", 3), {"room": "A", "hour": 3}),
    ],
)
def test_tombstone_from_the_primary_key(
    django_assert_num_queries: Any, model: type[Model], key: Any, columns: dict[str, Any]
):
    mirror = made(model, fields="__all__", on_delete="tombstone")
    with django_assert_num_queries(0):
        found = tombstones(mirror, {key: marked()})
    assert found == {key: {"keys": list(columns), **columns, "deleted_at": "2026-03-01 04:05:06"}}


def test_tombstone_from_a_renamed_primary_key():
    mirror = made(Book, fields=["title"], on_delete="tombstone", columns={"id": "no"}, deleted_column="gone")
    assert tombstones(mirror, {7: marked()}) == {7: {"keys": ["no"], "no": 7, "gone": "2026-03-01 04:05:06"}}


def test_tombstone_from_the_keys_that_went_with_the_mark(django_assert_num_queries: Any):
    code = Code(code="a", number=5)
    mirror = made(Code, fields=["note"], keys=["number"], on_delete="tombstone", columns={"number": "no"})
    kept = mirror.key_columns(code)
    assert kept == '{"no":5}'
    with django_assert_num_queries(1):
        found = tombstones(mirror, {"a": marked(tombstone_keys=kept)})
    assert found == {"a": {"keys": ["no"], "no": 5, "deleted_at": "2026-03-01 04:05:06"}}


def test_tombstone_keys_stay_as_exact_as_the_data_point():
    book = Book.objects.create(title="x", price=Decimal("0.1000"), isbn=uuid.UUID(int=1))
    book.refresh_from_db()
    mirror = made(Book, fields=["title"], keys=["isbn", "price"], on_delete="tombstone")
    [(_, point)] = mirror.data_points([book.pk], "default")
    assert isinstance(point, bytes)
    [(_, tombstone)] = mirror.tombstones({book.pk: marked(tombstone_keys=mirror.key_columns(book))}, "default")
    [(_, out_of_scope)] = mirror.tombstones({book.pk: marked()}, "default")
    assert b'"isbn":"00000000-0000-0000-0000-000000000001","price":0.1000' in point
    assert b'"isbn":"00000000-0000-0000-0000-000000000001","price":0.1000' in tombstone
    assert tombstone == out_of_scope


def test_tombstone_of_row_out_of_scope_reads_its_keys(django_assert_num_queries: Any):
    class Noted(Mirror):
        fields = ["note"]
        keys = ["number"]
        on_delete = "tombstone"

        def get_queryset(self) -> QuerySet[Code]:
            return Code.objects.exclude(note="")

    Code.objects.create(code="a", number=5)
    Code.objects.create(code="b", number=6)
    with django_assert_num_queries(1):
        found = tombstones(Noted(Code), {"a": marked(), "b": marked()})
    assert {key: point["number"] for key, point in found.items()} == {"a": 5, "b": 6}


def test_tombstone_whose_keys_went_with_the_row_is_rejected():
    mirror = made(Code, fields=["note"], keys=["number"], on_delete="tombstone")
    assert tombstones(mirror, {"a": marked(), "b": marked(tombstone_keys='{"number":6}')}) == {
        "a": "the values of number went with the deleted row",
        "b": {"keys": ["number"], "number": 6, "deleted_at": "2026-03-01 04:05:06"},
    }


def test_tombstone_without_a_key_is_rejected():
    """The mirror's key was another one when the row was deleted."""
    mirror = made(Code, fields=["note"], keys=["number"], on_delete="tombstone")
    assert tombstones(mirror, {"a": marked(tombstone_keys='{"note":"x"}')}) == {
        "a": "the key column number is null"
    }


def test_tombstone_of_third_party_key_is_as_in_the_data_point():
    loan = Loan.objects.create(book=Book.objects.create(title="x"), colour=Colour(255, 0, 1))
    mirror = made(Loan, fields=["days"], keys=["colour"], on_delete="tombstone")
    assert mirror.key_columns(loan) == '{"colour":"#ff0001"}'
    assert tombstones(mirror, {loan.pk: marked()})[loan.pk]["colour"] == "#ff0001"


def test_key_columns_follow_from_the_primary_key():
    assert made(Code, fields=["note"]).key_columns(Code(code="a", number=5)) is None


def test_key_columns_never_stop_a_delete():
    """A deferred field of a row that is gone can't be read any more."""
    Code.objects.create(code="a", number=5)
    code = Code.objects.only("code").get()
    Code.objects.all().delete()
    assert made(Code, fields=["note"], keys=["number"]).key_columns(code) is None
    assert made(Code, fields=["nonsense"], keys=["number"]).key_columns(Code(number=5)) is None


def test_data_points_of_no_keys():
    assert points(made(Book, fields=["title"]), []) == {}
    assert points(made(Slot, fields=["taken"]), []) == {}
