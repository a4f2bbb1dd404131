"""Names in ``fields`` and the columns they stand for."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.db.models import Model, QuerySet, Value

from django_rjmetrics import Mirror
from django_rjmetrics.columns import Column, key_sources, resolve, sources
from tests.library.models import Author, Book, Code, Loan, Place, PlaceProxy, Restaurant, Slot, Token


def made(model: type[Model], **attributes: Any) -> Mirror:
    return type("ColumnsMirror", (Mirror,), attributes)(model)


@pytest.mark.parametrize(
    ("model", "name", "column", "path"),
    [
        (Book, "title", "title", "title"),
        (Book, "id", "id", "id"),
        (Book, "pk", "id", "id"),
        (Book, "author", "author_id", "author_id"),
        (Book, "author_id", "author_id", "author_id"),
        (Book, "author__name", "author_name", "author__name"),
        (Book, "author_id__name", "author_name", "author__name"),
        (Book, "author__pk", "author_id", "author__id"),
        (Loan, "book__author", "book_author_id", "book__author_id"),
        (Loan, "book__author__name", "book_author_name", "book__author__name"),
        (Loan, "hours", "hours", "hours"),
        (Restaurant, "name", "name", "name"),
        (Restaurant, "pk", "place_ptr_id", "place_ptr_id"),
        (Restaurant, "place_ptr__changed", "place_ptr_changed", "place_ptr__changed"),
        # A relation of the other side that leads to one row.
        (Place, "restaurant__stars", "restaurant_stars", "restaurant__stars"),
        (PlaceProxy, "name", "name", "name"),
        (Slot, "room", "room", "room"),
    ],
)
def test_resolve_field_or_lookup(model: type[Model], name: str, column: str, path: str):
    found = resolve(made(model, fields=[name]), name, ())
    assert isinstance(found, Column)
    assert (found.name, found.path, found.method, found.source) == (column, path, None, name)


@pytest.mark.parametrize("name", ["author", "author__name", "shout", "extra_year"])
def test_resolve_renamed(name: str):
    mirror = made(Book, columns={name: "renamed"}, shout=lambda self, book: "")
    found = resolve(mirror, name, ["extra_year"])
    assert isinstance(found, Column)
    assert found.name == "renamed"


def test_resolve_method_before_annotation_before_field():
    mirror = made(Book, size=lambda self, book: "")
    method, annotation = resolve(mirror, "size", ["size"]), resolve(mirror, "title", ["title"])
    assert isinstance(method, Column)
    assert isinstance(annotation, Column)
    assert method.method is not None
    assert method.path is None
    assert annotation.local is None


def test_resolve_takes_no_method_of_mirror_itself():
    """Or a field called ``rows`` could not be mirrored, and a mistyped name would be sent as nonsense."""
    found = resolve(made(Book), "rows", ())
    assert isinstance(found, str)


FIELDS_OF_BOOK = (
    "author, blob, cover, extra, id, in_print, isbn, loan, opens_at, pages, price, published, sold_at, tag, "
    "title, weight"
)
NOT_OF_BOOK = f"is not a field, an annotation or a method of library.Book, whose fields are: {FIELDS_OF_BOOK}"


@pytest.mark.parametrize(
    ("model", "name", "told"),
    [
        (
            Book,
            "titel",
            f"'titel' {NOT_OF_BOOK}",
        ),
        (
            Book,
            "",
            f"'' {NOT_OF_BOOK}",
        ),
        (Book, "author__nam", "'nam' is not a field of library.Author, whose fields are: id, name"),
        (Book, "title__upper", "'title' does not lead to one row: use a method or an annotation"),
        (Book, "extra__key", "'extra' does not lead to one row: use a method or an annotation"),
        (Author, "book", "'book' does not lead to one row: use a method or an annotation"),
        (Author, "book__title", "'book' does not lead to one row: use a method or an annotation"),
        (Place, "restaurant", "'restaurant' is not a column of library.Place: use a method"),
        (Slot, "pk", "'pk' is not a column of library.Slot: use a method"),
    ],
)
def test_resolve_says_why_there_is_no_column(model: type[Model], name: str, told: str):
    assert resolve(made(model), name, ()) == told


@pytest.mark.parametrize(
    ("model", "attributes", "expected"),
    [
        (Code, {"fields": "__all__"}, ["code", "number", "note"]),
        (Code, {"fields": "__all__", "exclude": ["note"]}, ["code", "number"]),
        (
            Book,
            {"fields": "__all__", "exclude": ("author_id",)},
            [n for n in FIELDS_OF_BOOK.split(", ") if n != "author"],
        ),
        # Every data point needs its key.
        (Code, {"fields": "__all__", "exclude": ["code"]}, ["code", "number", "note"]),
        (Code, {"fields": ["note"]}, ["code", "note"]),
        (Code, {"fields": ["note"], "keys": ["number"]}, ["number", "note"]),
        (Code, {"fields": ["note", "number"], "keys": ["number"]}, ["note", "number"]),
        (Slot, {"fields": ["taken", "hour"]}, ["room", "taken", "hour"]),
        (Slot, {"fields": "__all__"}, ["room", "hour", "taken"]),
        (Restaurant, {"fields": ["stars"]}, ["place_ptr", "stars"]),
        (Restaurant, {"fields": "__all__"}, ["id", "name", "changed", "place_ptr", "stars"]),
        (Book, {"fields": ["pk", "title"]}, ["pk", "title"]),
        (Book, {"fields": ["author_id"], "keys": ["author"]}, ["author_id"]),
        (Token, {"fields": []}, ["id"]),
    ],
)
def test_sources(model: type[Model], attributes: dict[str, Any], expected: list[str]):
    found = sources(made(model, **attributes))
    assert sorted(found) == sorted(expected)
    if attributes["fields"] != "__all__":
        assert found == expected


def test_key_sources_of_composite_key_are_in_its_order():
    assert key_sources(made(Slot)) == ["room", "hour"]


@pytest.mark.parametrize(
    ("model", "name", "local"),
    [
        (Book, "title", {"title"}),
        (Book, "author", {"author", "author_id"}),
        (Book, "author__name", {"author", "author_id"}),
        # A generated column changes with what it is made from, if Django tells.
        (Loan, "hours", {"hours", "days"} if django.VERSION >= (6, 0) else None),
        (Place, "restaurant__stars", {"restaurant"}),
        (Book, "shout", {"title", "author", "author_id"}),
        (Book, "whisper", None),
        (Book, "extra_year", None),
        (Book, "extra_day", {"published"}),
    ],
)
def test_resolve_tells_the_fields_it_shows(model: type[Model], name: str, local: set[str] | None):
    def get_queryset(self: Mirror) -> QuerySet[Any]:
        return model._base_manager.annotate(extra_year=Value(1), extra_day=Value(2))

    mirror = made(
        model,
        get_queryset=get_queryset,
        shout=lambda self, book: "",
        whisper=lambda self, book: "",
        reads={"shout": ["title", "author_id"], "extra_day": ["published"]},
    )
    found = resolve(mirror, name, ["extra_year", "extra_day"])
    assert isinstance(found, Column)
    assert found.local == local


@pytest.mark.parametrize(("name", "plain"), [("title", True), ("pages", True), ("price", False), ("cover", False)])
def test_resolve_converts_no_value_that_json_takes_as_it_is(name: str, plain: bool):
    found = resolve(made(Book), name, ())
    assert isinstance(found, Column)
    assert (found.convert is None) is plain
