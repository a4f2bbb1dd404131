"""What a save and a delete leave behind: marks, in the same transaction, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core import serializers
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.test.utils import CaptureQueriesContext, isolate_apps
from shop.models import Customer, Purchase

from django_rjmetrics import Mirror, ignore_changes, registry
from django_rjmetrics.capture import signals
from django_rjmetrics.models import Mark
from django_rjmetrics.testing import mirroring
from tests.library.models import Author, Code, Place, PlaceProxy, Restaurant, Slot, Token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _mirroring(settings: Any) -> Iterator[None]:
    settings.RJMETRICS = {"CELERY": False}
    with mirroring():
        yield


@pytest.fixture
def authors(mirror: Callable[..., Mirror]) -> Mirror:
    return mirror(Author, fields=["name"])


def marked() -> list[tuple[str, str]]:
    return list(Mark.objects.order_by("id").values_list("mirror", "key"))


@contextmanager
def receiver(signal: Any, function: Callable[..., None], sender: type[models.Model]) -> Iterator[None]:
    signal.connect(function, sender=sender, weak=False)
    try:
        yield
    finally:
        signal.disconnect(function, sender=sender)


def fail(**kwargs: Any) -> None:
    raise RuntimeError("somebody else's receiver")


def test_create_and_save_mark_the_key(authors: Mirror) -> None:
    author = Author.objects.create(name="a")
    author.save()
    assert marked() == [("library.Author", str(author.pk))] * 2


def test_delete_marks_the_key(authors: Mirror) -> None:
    author = Author.objects.create(name="a")
    key = str(author.pk)
    Mark.objects.all().delete()
    author.delete()
    assert marked() == [("library.Author", key)]


def test_queryset_delete_marks_each(authors: Mirror) -> None:
    made = [Author.objects.create(name=name) for name in "abc"]
    Mark.objects.all().delete()
    Author.objects.all().delete()
    assert sorted(marked()) == sorted(("library.Author", str(author.pk)) for author in made)


def test_model_without_mirror_marks_nothing() -> None:
    Author.objects.create(name="a").delete()
    assert marked() == []


def test_model_without_mirror_keeps_its_fast_delete(authors: Mirror) -> None:
    Code.objects.create(code="a", number=1)
    with CaptureQueriesContext(connection) as queries:
        Code.objects.all().delete()
    assert not [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


def test_unregistered_model_is_as_before(mirror: Callable[..., Mirror]) -> None:
    mirror(Code, fields=["code"])
    registry.unregister(Code)
    assert "_save_table" not in vars(Code)
    Code.objects.create(code="a", number=1)
    with CaptureQueriesContext(connection) as queries:
        Code.objects.all().delete()
    assert not [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert marked() == []


def test_save_costs_one_insert_more(authors: Mirror) -> None:
    author = Author.objects.create(name="a")
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        author.save()
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(statements) == 2
    assert statements[1].startswith("INSERT INTO django_rjmetrics_mark")


def test_rolled_back_transaction_marks_nothing(authors: Mirror) -> None:
    with transaction.atomic():
        Author.objects.create(name="a")
        transaction.set_rollback(True)
    assert marked() == []


def test_rolled_back_savepoint_marks_nothing(authors: Mirror) -> None:
    with transaction.atomic():
        kept = Author.objects.create(name="a")
        with transaction.atomic():
            Author.objects.create(name="b")
            transaction.set_rollback(True)
    assert marked() == [("library.Author", str(kept.pk))]


def test_autocommit_row_and_mark_are_one_transaction(authors: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    Author.objects.create(name="a")

    def broken(*args: Any) -> None:
        raise DatabaseError("the connection is gone")

    monkeypatch.setattr(signals, "append", broken)
    with pytest.raises(DatabaseError):
        Author.objects.create(name="b")
    assert list(Author.objects.values_list("name", flat=True)) == ["a"]


def test_autocommit_post_save_failure_keeps_row_and_mark(authors: Mirror) -> None:
    with receiver(post_save, fail, Author), pytest.raises(RuntimeError):
        Author.objects.create(name="a")
    assert Author.objects.count() == len(marked()) == 1


def test_autocommit_other_receivers_run_outside_the_transaction(authors: Mirror) -> None:
    seen = []

    def look(**kwargs: Any) -> None:
        seen.append(connection.in_atomic_block)

    with receiver(pre_save, look, Author), receiver(post_save, look, Author):
        Author.objects.create(name="a")
    assert seen == [False, False]


def test_swallowed_integrity_error_of_another_receiver_keeps_the_row(authors: Mirror) -> None:
    Code.objects.create(code="taken", number=1)

    def clumsy(**kwargs: Any) -> None:
        with suppress(IntegrityError):
            Code.objects.create(code="taken", number=2)

    with receiver(post_save, clumsy, Author):
        Author.objects.create(name="a")
    assert Author.objects.count() == len(marked()) == 1


def test_failed_write_leaves_the_callers_transaction_as_without_us(mirror: Callable[..., Mirror]) -> None:
    mirror(Code, fields=["code"])
    Code.objects.create(code="a", number=1)
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            Code(code="b", number=1).save(force_insert=True)
        Code.objects.create(code="c", number=3)
    assert [key for _, key in marked()] == ["a", "c"]


def test_delete_that_a_receiver_stops_marks_nothing(authors: Mirror) -> None:
    author = Author.objects.create(name="a")
    Mark.objects.all().delete()
    with receiver(post_delete, fail, Author), pytest.raises(RuntimeError):
        author.delete()
    assert Author.objects.count() == 1
    assert marked() == []


def test_proxy_saves_and_deletes_mark_the_model(mirror: Callable[..., Mirror]) -> None:
    mirror(Place, fields=["name"])
    place = PlaceProxy.objects.create(name="a")
    key = str(place.pk)
    place.delete()
    assert marked() == [("library.Place", key)] * 2


def test_proxy_mirror_sees_the_models_saves(mirror: Callable[..., Mirror]) -> None:
    mirror(PlaceProxy, fields=["name"])
    Place.objects.create(name="a")
    assert [label for label, _ in marked()] == ["library.PlaceProxy"]


def test_proxy_defined_later_is_noticed(mirror: Callable[..., Mirror]) -> None:
    mirror(Place, fields=["name"])
    with isolate_apps("tests.library"):

        class LateProxy(Place):
            class Meta:
                proxy = True
                app_label = "library"

        place = LateProxy.objects.create(name="a")
        LateProxy.objects.filter(pk=place.pk).delete()
    assert len(marked()) == 2


def test_multi_table_child_marks_its_mirrored_parent(mirror: Callable[..., Mirror]) -> None:
    mirror(Place, fields=["name"])
    restaurant = Restaurant.objects.create(name="a")
    key = str(restaurant.pk)
    restaurant.delete()
    assert marked() == [("library.Place", key)] * 2


@pytest.mark.parametrize("order", [(Place, Restaurant), (Restaurant, Place)])
def test_mirrored_parent_and_child_are_each_marked_once(
    mirror: Callable[..., Mirror], order: tuple[type[models.Model], ...]
) -> None:
    for model in order:
        mirror(model, fields=["name"])
    restaurant = Restaurant.objects.create(name="a")
    Mark.objects.all().delete()
    restaurant.save()
    assert sorted(label for label, _ in marked()) == ["library.Place", "library.Restaurant"]
    Mark.objects.all().delete()
    restaurant.delete()
    assert sorted(label for label, _ in marked()) == ["library.Place", "library.Restaurant"]


def test_fixtures_are_marked(authors: Mirror) -> None:
    data = serializers.serialize("json", [Author(pk=41, name="a")])
    for item in serializers.deserialize("json", data):
        item.save()
    assert marked() == [("library.Author", "41")]


def test_loaddata_is_marked(authors: Mirror, tmp_path: Any) -> None:
    from django.core.management import call_command

    fixture = tmp_path / "authors.json"
    fixture.write_text(serializers.serialize("json", [Author(pk=41, name="a"), Author(pk=42, name="b")]))
    call_command("loaddata", fixture, verbosity=0)
    assert marked() == [("library.Author", "41"), ("library.Author", "42")]


def test_update_fields_that_cannot_show_mark_nothing(authors: Mirror, mirror: Callable[..., Mirror]) -> None:
    mirror(Code, fields=["code", "number"])
    code = Code.objects.create(code="a", number=1)
    Mark.objects.all().delete()
    code.save(update_fields=["note"])
    assert marked() == []
    code.save(update_fields=["note", "number"])
    assert len(marked()) == 1


def test_update_fields_with_a_misdeclared_mirror_still_save(mirror: Callable[..., Mirror]) -> None:
    mirror(Code, fields=["no_such_field"])
    code = Code.objects.create(code="a", number=1)
    code.save(update_fields=["note"])
    code.delete()
    assert len(marked()) == 3


@pytest.mark.parametrize(
    ("model", "values", "key"),
    [
        (Code, {"code": " Ab'c ", "number": 1}, " Ab'c "),
        (Slot, {"room": 'a,"b', "hour": 3}, '["a,\\"b","3"]'),
        (Token, {"id": "12345678-1234-5678-1234-567812345678"}, "12345678-1234-5678-1234-567812345678"),
    ],
    ids=["string", "composite", "uuid"],
)
def test_keys_of_any_kind_are_marked(
    mirror: Callable[..., Mirror], model: type[models.Model], values: dict[str, Any], key: str
) -> None:
    mirror(model, fields="__all__")
    instance = model._default_manager.create(**values)
    instance.delete()
    assert [text for _, text in marked()] == [key, key]


def test_cascade_marks_what_goes() -> None:
    customer = Customer.objects.create(joined="2020-01-01")
    purchase = Purchase.objects.create(customer=customer, date="2020-01-01", cds=1, dollars=1)
    gone = {("shop.Customer", str(customer.pk)), ("shop.Purchase", str(purchase.pk))}
    Mark.objects.all().delete()
    customer.delete()
    assert set(marked()) == gone


def test_delete_carries_remote_keys_that_are_not_the_primary_key(mirror: Callable[..., Mirror]) -> None:
    mirror(Code, fields=["number", "note"], keys=["number"], on_delete="tombstone")
    Code.objects.create(code="a", number=12).delete()
    assert list(Mark.objects.order_by("id").values_list("tombstone_keys", flat=True)) == [None, '{"number":12}']


def test_ignore_changes_drops_marks_of_this_context_alone(authors: Mirror) -> None:
    import threading

    def other() -> None:
        Author.objects.create(name="theirs")
        connection.close()

    with ignore_changes():
        Author.objects.create(name="mine").delete()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(marked()) == 1
    Author.objects.create(name="after")
    assert len(marked()) == 2


def test_enabled_false_marks_nothing(authors: Mirror, settings: Any) -> None:
    settings.RJMETRICS = {"ENABLED": False}
    Author.objects.create(name="a")
    assert marked() == []


def test_save_by_hand_committed_transaction_is_marked(authors: Mirror) -> None:
    transaction.set_autocommit(False)
    try:
        Author.objects.create(name="a")
        transaction.rollback()
        Author.objects.create(name="b")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert len(marked()) == Author.objects.count() == 1


@contextmanager
def unmigrated() -> Iterator[None]:
    with connection.schema_editor() as editor:
        editor.delete_model(Mark)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Mark)


def test_unmigrated_tables_leave_saves_alone_and_say_so_once_a_minute(
    authors: Mirror, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unmigrated(), caplog.at_level(logging.ERROR, "django_rjmetrics"):
        with transaction.atomic():
            Author.objects.create(name="a")
            Author.objects.create(name="b")
        Author.objects.create(name="c").delete()
        assert Author.objects.count() == 2
        assert len(caplog.messages) == 1
        assert "migrate django_rjmetrics --database default" in caplog.messages[0]
        monkeypatch.setattr("time.monotonic", lambda: 10**9)
        Author.objects.create(name="d")
        assert len(caplog.messages) == 2
    Author.objects.create(name="e")
    assert len(marked()) == 1
