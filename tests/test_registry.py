"""Registering mirrors, and finding them again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps
from django.utils.module_loading import autodiscover_modules

from django_rjmetrics import Mirror, register, registry
from django_rjmetrics.capture import signals
from django_rjmetrics.exceptions import AlreadyRegistered, NotRegistered, RJMetricsError
from django_rjmetrics.registry import MirrorRegistry
from tests.library.models import Author, Book, Code, Place, PlaceProxy, Restaurant


class BookMirror(Mirror):
    table = "books"
    fields = ["title"]


class CodeMirror(Mirror):
    fields = ["note"]


@pytest.fixture
def own() -> Iterator[MirrorRegistry]:
    """A registry of the test's own."""
    made = MirrorRegistry()
    yield made
    for mirror in made:
        made.unregister(mirror.model)


def test_register_and_unregister(own: MirrorRegistry):
    assert list(own) == []
    own.register(Book, BookMirror)
    own.register(Code, CodeMirror)
    assert [repr(mirror) for mirror in own] == ["<BookMirror of library.Book>", "<CodeMirror of library.Code>"]
    assert own.is_registered(Book)
    own.unregister(Book)
    assert not own.is_registered(Book)
    assert [mirror.model for mirror in own] == [Code]


def test_register_connects_capture_and_unregister_disconnects_it(own: MirrorRegistry):
    assert not models.signals.post_save.has_listeners(Book)
    own.register(Book, BookMirror)
    assert models.signals.post_save.has_listeners(Book)
    assert not models.signals.post_save.has_listeners(Author)
    own.unregister(Book)
    assert not models.signals.post_save.has_listeners(Book)
    assert "_save_table" not in vars(Book)


def test_register_proxies_and_children_are_models_of_their_own(own: MirrorRegistry):
    own.register(Place, CodeMirror)
    assert not own.is_registered(PlaceProxy)
    assert not own.is_registered(Restaurant)
    own.register(PlaceProxy, CodeMirror)
    own.register(Restaurant, CodeMirror)
    assert len(list(own)) == 3


def test_registry_may_be_changed_while_it_is_walked(own: MirrorRegistry):
    own.register(Book, BookMirror)
    own.register(Code, CodeMirror)
    for mirror in own:
        own.unregister(mirror.model)
    assert list(own) == []


@pytest.mark.parametrize("name", ["library.Book", "library.book", "LIBRARY.BOOK", "books"])
def test_get_by_label_or_table(own: MirrorRegistry, name: str):
    own.register(Code, CodeMirror)
    own.register(Book, BookMirror)
    found = own.get(name)
    assert found is not None
    assert found.model is Book


@pytest.mark.parametrize("name", ["", "Books", "book", "library", "library.Boook", "library_book"])
def test_get_of_no_mirror(own: MirrorRegistry, name: str):
    own.register(Book, BookMirror)
    assert own.get(name) is None


def test_register_twice_names_the_mirror_and_the_mend(own: MirrorRegistry):
    own.register(Book, BookMirror)
    with pytest.raises(AlreadyRegistered) as caught:
        own.register(Book, CodeMirror)
    assert str(caught.value) == (
        "library.Book is registered already, with BookMirror: unregister() that one first."
    )
    assert isinstance(caught.value, RJMetricsError)
    assert type(own.get("books")) is BookMirror


def test_unregister_what_has_no_mirror(own: MirrorRegistry):
    with pytest.raises(NotRegistered, match=r"^library\.Book has no mirror\.$"):
        own.unregister(Book)


class Abstract(models.Model):
    class Meta:
        abstract = True
        app_label = "library"


@pytest.mark.parametrize(
    ("model", "mirror_class", "told"),
    [
        ("library.Book", BookMirror, "register() takes a model, not 'library.Book'."),
        (BookMirror, BookMirror, f"register() takes a model, not {BookMirror!r}."),
        (Book(), BookMirror, "register() takes a model, not <Book: Book object (None)>."),
        (
            Book,
            Book,
            (
                "The mirror of library.Book must be a subclass of django_rjmetrics.Mirror, "
                "not <class 'tests.library.models.Book'>."
            ),
        ),
        (Book, None, "The mirror of library.Book must be a subclass of django_rjmetrics.Mirror, not None."),
        (Abstract, BookMirror, "Abstract is abstract: register the models made from it."),
    ],
)
def test_register_refuses(own: MirrorRegistry, model: Any, mirror_class: Any, told: str):
    with pytest.raises(ImproperlyConfigured) as caught:
        own.register(model, mirror_class)
    assert str(caught.value) == told
    assert list(own) == []


@isolate_apps("tests.library")
def test_register_refuses_a_swapped_model(own: MirrorRegistry, settings: Any):
    settings.LIBRARY_READER = "library.Author"

    class Reader(models.Model):
        class Meta:
            app_label = "library"
            swappable = "LIBRARY_READER"

    with pytest.raises(
        ImproperlyConfigured, match=r"^library\.Reader is swapped: register library\.Author instead\.$"
    ):
        own.register(Reader, BookMirror)


def test_register_decorator_takes_several_models():
    try:
        decorated = register(Place, Restaurant)(CodeMirror)
        assert decorated is CodeMirror
        assert registry.is_registered(Place)
        assert registry.is_registered(Restaurant)
    finally:
        registry.unregister(Place)
        registry.unregister(Restaurant)


def test_register_decorator_without_models():
    with pytest.raises(ImproperlyConfigured, match=r"^@register\(\) takes at least one model\.$"):
        register()
    with pytest.raises(ImproperlyConfigured, match=r"^register\(\) takes a model, not <class .*BookMirror'>\.$"):
        register(BookMirror)(BookMirror)  # type: ignore[arg-type]


def test_mirrors_are_found_by_themselves():
    assert {mirror.label for mirror in registry} >= {"shop.Customer", "shop.Purchase"}


def test_mirrors_of_a_module_that_fails_half_way_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: MirrorRegistry
):
    package = tmp_path / "halfway"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mirrors.py").write_text(
        "from tests.library.models import Book\n"
        "from tests.test_registry import BookMirror, halfway\n"
        "halfway[0].register(Book, BookMirror)\n"
        "1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    halfway[:] = [own]
    app = AppConfig.create("halfway")
    monkeypatch.setattr(apps, "app_configs", {"halfway": app})
    try:
        with pytest.raises(ZeroDivisionError):
            autodiscover_modules("mirrors", register_to=own)
    finally:
        sys.modules.pop("halfway", None)
        sys.modules.pop("halfway.mirrors", None)
        for mirror in signals._mirrors.get(Book, ()):
            signals.disconnect(mirror)
    assert list(own) == []


halfway: list[MirrorRegistry] = []
