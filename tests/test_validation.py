"""What is wrong with a mirror's declaration: each mistake by its id, its words and its mend."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.models import Model
from django.test.utils import isolate_apps

from django_rjmetrics import Mirror
from django_rjmetrics.columns import Problem
from django_rjmetrics.validation import keys_unique, mirror_problems, secret_columns
from tests.library.models import Author, Book, Code, Loan, Place, PlaceProxy, Restaurant, Slot, Token


def made(model: type[Model], **attributes: Any) -> Mirror:
    return type("WrongMirror", (Mirror,), attributes)(model)


FIELDS_HINT = 'List the fields to send, or say fields = "__all__".'
CODE_FIELDS = "The fields are: code, note, number."


@pytest.mark.parametrize(
    ("attributes", "check_id", "message", "hint"),
    [
        ({}, "E010", "fields is missing.", FIELDS_HINT),
        ({"fields": []}, "E010", "fields is missing.", FIELDS_HINT),
        ({"fields": ""}, "E010", "fields is missing.", FIELDS_HINT),
        ({"fields": "note"}, "E010", "fields is 'note'.", FIELDS_HINT),
        ({"fields": 5}, "E010", "fields is 5.", FIELDS_HINT),
        ({"fields": ["note", 5]}, "E010", "fields is ['note', 5].", FIELDS_HINT),
        ({"fields": [None]}, "E010", "fields is [None].", FIELDS_HINT),
        (
            {"fields": ["nite"]},
            "E011",
            (
                "fields: 'nite' is not a field, an annotation or a method of library.Code, whose fields are: "
                "code, note, number."
            ),
            "Correct the name, or drop it from fields.",
        ),
        (
            {"fields": ["note__upper"]},
            "E011",
            "fields: 'note' does not lead to one row: use a method or an annotation.",
            "Correct the name, or drop it from fields.",
        ),
        (
            {"table": "my-codes"},
            "E012",
            "the table name 'my-codes' is not one the API takes.",
            "Set table to a name of letters, digits and underscores.",
        ),
        (
            {"table": "códigos"},
            "E012",
            "the table name 'códigos' is not one the API takes.",
            "Set table to a name of letters, digits and underscores.",
        ),
        (
            {"table": "codes\n"},
            "E012",
            "the table name 'codes\\n' is not one the API takes.",
            "Set table to a name of letters, digits and underscores.",
        ),
        ({"table": 5}, "E012", "table is 5.", "Set table to a string."),
        ({"table": None}, "E012", "table is None.", "Set table to a string."),
        (
            {"fields": ["note"], "note": lambda self, code: ""},
            "E014",
            "the method note() has the name of a model field.",
            "Rename the method, and the column with columns if need be.",
        ),
        (
            {"fields": ["note"], "exclude": ["number"]},
            "E015",
            'exclude goes with fields = "__all__" only.',
            "Leave the names out of fields.",
        ),
        ({"exclude": ["nite"]}, "E015", "exclude: 'nite' is not a field.", CODE_FIELDS),
        ({"exclude": "note"}, "E015", "exclude is 'note'.", 'Make it a list of names: exclude = ["..."].'),
        ({"exclude": None}, "E015", "exclude is None.", 'Make it a list of names: exclude = ["..."].'),
        ({"keys": "number"}, "E015", "keys is 'number'.", 'Make it a list of names: keys = ["..."].'),
        ({"keys": "__all__"}, "E015", "keys is '__all__'.", 'Make it a list of names: keys = ["..."].'),
        ({"keys": [5]}, "E015", "keys is [5].", 'Make it a list of names: keys = ["..."].'),
        (
            {"columns": ["note"]},
            "E015",
            "columns is ['note'].",
            'Make it a dictionary: columns = {"field": "column"}.',
        ),
        (
            {"columns": {"note": ""}},
            "E015",
            "columns is {'note': ''}.",
            'Make it a dictionary: columns = {"field": "column"}.',
        ),
        (
            {"columns": {"nite": "remark"}},
            "E015",
            "columns: 'nite' is not in fields.",
            "Use a name as it is written in fields: code, note, number.",
        ),
        (
            {"columns": {"note": "keys"}},
            "E015",
            "'note' would be sent as 'keys', a name that the warehouse uses itself.",
            'Rename it: columns = {"note": "..."}.',
        ),
        (
            {"columns": {"note": "_updated_at"}},
            "E015",
            "'note' would be sent as '_updated_at', a name that the warehouse uses itself.",
            'Rename it: columns = {"note": "..."}.',
        ),
        (
            {"columns": {"note": "number"}},
            "E015",
            "'number' and 'note' are both sent as 'number'.",
            'Rename one of them: columns = {"note": "..."}.',
        ),
        (
            {"reads": {"get_queryset": "note"}},
            "E015",
            "reads is {'get_queryset': 'note'}.",
            'Make it a dictionary: reads = {"method": ["field"]}.',
        ),
        ({"reads": None}, "E015", "reads is None.", 'Make it a dictionary: reads = {"method": ["field"]}.'),
        (
            {"fields": ["loud"], "loud": lambda self, code: "", "reads": {"loud": ["nite"]}},
            "E015",
            "reads['loud']: 'nite' is not a field.",
            CODE_FIELDS,
        ),
        (
            {"fields": ["note"], "reads": {"loud": ["note"]}},
            "E015",
            "reads: 'loud' is not in fields.",
            "Use a name as it is written in fields: code, note.",
        ),
        ({"keys": ["nomber"]}, "E016", "keys: 'nomber' is not a field.", CODE_FIELDS),
        (
            {"fields": ["loud"], "loud": lambda self, code: "", "keys": ["loud"]},
            "E016",
            "keys: 'loud' is not a field.",
            CODE_FIELDS,
        ),
        ({"modified": "changed"}, "E017", "modified: 'changed' is not a field.", CODE_FIELDS),
        ({"modified": ["note"]}, "E017", "modified: ['note'] is not a field.", CODE_FIELDS),
        (
            {"modified": "number"},
            "E017",
            "modified: 'number' holds no date.",
            "Name a DateTimeField or DateField.",
        ),
        ({"on_delete": "cascade"}, "E018", "on_delete is 'cascade'.", 'Set it to "ignore" or "tombstone".'),
        ({"on_delete": ["ignore"]}, "E018", "on_delete is ['ignore'].", 'Set it to "ignore" or "tombstone".'),
        ({"deleted_column": ""}, "E018", "deleted_column is ''.", "Set it to a column's name."),
        (
            {"on_delete": "tombstone", "deleted_column": "note"},
            "E018",
            "deleted_column is 'note', a column already.",
            "Set deleted_column to a name of its own.",
        ),
        (
            {"on_delete": "tombstone", "deleted_column": "keys"},
            "E018",
            "deleted_column is 'keys', a name that the warehouse uses itself.",
            "Set deleted_column to a name of its own.",
        ),
        (
            {"get_queryset": lambda self: None},
            "E019",
            "get_queryset() does not work: AttributeError: 'NoneType' object has no attribute 'query'",
            "Return an unsliced queryset of the model.",
        ),
        (
            {"get_queryset": lambda self: Code.objects.all()[:5]},
            "E019",
            "get_queryset() does not work: TypeError: Cannot reorder a query once a slice has been taken.",
            "Return an unsliced queryset of the model.",
        ),
        (
            {"get_queryset": lambda self: Code.objects.values("code")},
            "E019",
            (
                "get_queryset() does not work: TypeError: it must return rows of the model, without values() or "
                "values_list()"
            ),
            "Return an unsliced queryset of the model.",
        ),
        (
            {"get_queryset": lambda self: Book.objects.all()},
            "E019",
            (
                "get_queryset() does not work: TypeError: it must return rows of the model, without values() or "
                "values_list()"
            ),
            "Return an unsliced queryset of the model.",
        ),
        (
            {"get_queryset": lambda self: 1 / 0},
            "E019",
            "get_queryset() does not work: ZeroDivisionError: division by zero",
            "Return an unsliced queryset of the model.",
        ),
    ],
)
def test_mirror_problems_tell_mistake_and_mend(attributes: dict[str, Any], check_id: str, message: str, hint: str):
    if message != "fields is missing.":
        attributes = {"fields": "__all__", **attributes}
    assert mirror_problems(made(Code, **attributes)) == [
        Problem(f"rjmetrics.{check_id}", f"WrongMirror (library.Code): {message}", hint)
    ]


def test_mirror_problems_are_all_told_at_once():
    wrong = made(
        Code, table="my codes", fields=["nite", "nomber", "note"], columns={"x": "y"}, keys=["z"], modified="w"
    )
    assert [problem.id for problem in mirror_problems(wrong)] == [
        f"rjmetrics.{check_id}" for check_id in ("E012", "E016", "E017", "E011", "E011", "E015")
    ]


@pytest.mark.parametrize(
    ("model", "attributes"),
    [
        (Book, {"fields": "__all__"}),
        (Book, {"fields": ("title", "author__name")}),
        (Book, {"fields": ["pk", "title"]}),
        (Book, {"fields": "__all__", "exclude": ["author_id", "id"]}),
        (Book, {"fields": ["title"], "keys": ["isbn"], "modified": "sold_at", "on_delete": "tombstone"}),
        (Book, {"fields": ["title"], "modified": "published", "table": "Books_2"}),
        (Book, {"fields": ["title", "author"], "columns": {"author": "writer", "id": "no"}}),
        (
            Book,
            {"fields": ["loud"], "loud": lambda self, book: "", "reads": {"loud": [], "get_queryset": ["title"]}},
        ),
        # The other side of a relation is no field of the model.
        (Author, {"fields": ["book"], "book": lambda self, author: author.book_set.count()}),
        (Slot, {"fields": ["taken"], "on_delete": "tombstone"}),
        (Loan, {"fields": "__all__"}),
        (Token, {"fields": "__all__"}),
        (
            Restaurant,
            {"fields": "__all__", "get_queryset": lambda self: Restaurant.objects.select_related("place_ptr")},
        ),
        (Place, {"fields": ["name"], "get_queryset": lambda self: PlaceProxy.objects.distinct()}),
        (PlaceProxy, {"fields": ["name"]}),
    ],
)
def test_mirror_problems_of_what_can_be_sent(model: type[Model], attributes: dict[str, Any]):
    mirror = made(model, **attributes)
    assert mirror_problems(mirror) == []
    assert mirror.plan.columns


@isolate_apps("tests.library")
@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("password_hash", True),
        ("api_token", True),
        ("SECRET", True),
        ("key", True),
        ("api_key", True),
        ("apikey", True),
        ("client_secret_2", True),
        ("keyboard", False),
        ("tokens_spent", False),
        ("monkey", False),
        ("secretary", False),
    ],
)
def test_secret_columns(name: str, secret: bool):
    model = type(
        "Safe",
        (models.Model,),
        {name: models.TextField(), "__module__": __name__, "Meta": type("Meta", (), {"app_label": "library"})},
    )
    assert secret_columns(made(model, fields="__all__")) == ([name] if secret else [])
    assert secret_columns(made(model, fields="__all__", exclude=[name])) == []


def test_secret_columns_of_methods_and_lookups():
    mirror = made(Book, fields=["title", "author__token", "key_of"], key_of=lambda self, book: "")
    assert secret_columns(mirror) == ["author__token", "key_of"]


@pytest.mark.parametrize(
    ("model", "keys", "unique"),
    [
        (Book, [], True),
        (Book, ["id"], True),
        (Book, ["isbn"], False),
        (Book, ["isbn", "id"], True),
        (Code, ["number"], True),
        (Code, ["note"], False),
        (Slot, [], True),
        (Slot, ["hour", "room"], True),
        (Slot, ["room"], False),
        (Loan, ["book_id"], False),
    ],
)
def test_keys_unique(model: type[Model], keys: list[str], unique: bool):
    assert keys_unique(made(model, fields="__all__", keys=keys)) is unique


@isolate_apps("tests.library")
def test_keys_unique_by_constraint():
    class Seat(models.Model):
        row = models.IntegerField()
        number = models.IntegerField()
        name = models.TextField()

        class Meta:
            app_label = "library"
            unique_together = [("row", "number")]
            constraints = [
                models.UniqueConstraint(fields=["name"], name="a", condition=models.Q(row=1)),
                models.UniqueConstraint(fields=["name", "row"], name="b"),
            ]

    assert keys_unique(made(Seat, keys=["number", "row"]))
    assert keys_unique(made(Seat, keys=["row", "name"]))
    assert not keys_unique(made(Seat, keys=["name"]))
    assert not keys_unique(made(Seat, keys=["row"]))
