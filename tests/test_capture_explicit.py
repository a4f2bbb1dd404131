"""mark(): for what no signal sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_rjmetrics import Mirror, ignore_changes, mark
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.exceptions import NotRegistered
from django_rjmetrics.models import Mark
from django_rjmetrics.testing import flush
from tests.library.models import Author, Code


@pytest.fixture
def codes(warehouse: Emulator, mirror: Callable[..., Mirror]) -> Mirror:
    Code.objects.bulk_create([Code(code=f"c{number}", number=number) for number in range(700)])
    return mirror(Code, table="codes", fields=["code", "number"])


def test_mark_of_a_queryset_sends_its_rows(codes: Mirror, warehouse: Emulator) -> None:
    assert mark(Code.objects.filter(number__lt=650)) == 650
    flush()
    assert warehouse.tables() == {"codes": 650}


def test_mark_of_a_queryset_loads_no_rows(codes: Mirror) -> None:
    with CaptureQueriesContext(connection) as queries:
        mark(Code.objects.all())
    assert not [query for query in queries if "note" in query["sql"]]
    assert Mark.objects.count() == 700


def test_mark_of_instances_sends_them(codes: Mirror, warehouse: Emulator) -> None:
    assert mark([Code.objects.get(code="c3"), Code.objects.get(code="c4")]) == 2
    flush()
    assert warehouse.tables() == {"codes": 2}


def test_mark_goes_with_its_transaction(codes: Mirror) -> None:
    with transaction.atomic():
        mark(Code.objects.all())
        transaction.set_rollback(True)
    assert not Mark.objects.exists()


def test_mark_is_silent_where_changes_are_ignored(codes: Mirror, settings: Any) -> None:
    with ignore_changes():
        assert mark(Code.objects.all()) == 0
    settings.RJMETRICS["ENABLED"] = False
    assert mark(Code.objects.all()) == 0
    assert not Mark.objects.exists()


def test_mark_of_a_model_without_mirror_is_refused(codes: Mirror) -> None:
    with pytest.raises(NotRegistered, match="library[.]Author"):
        mark(Author.objects.all())
