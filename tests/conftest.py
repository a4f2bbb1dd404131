"""Fixtures. Tests of mirroring ask for ``warehouse``: the emulator over its socket, and changes being noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models import Model

from django_rjmetrics import Mirror, registry
from django_rjmetrics.backends import locmem
from django_rjmetrics.capture import switches
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.pending import marks
from django_rjmetrics.testing import mirroring

API_KEY = "k3y-that/must+not=leak"


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    with Emulator(client_id=7, api_key=API_KEY, record_arrivals=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator, settings: Any) -> Emulator:
    """The emulator, empty, and the settings pointing at it."""
    running_emulator.reset()
    settings.RJMETRICS = {
        "CLIENT_ID": 7,
        "API_KEY": API_KEY,
        "API_URL": running_emulator.api_url,
        "SANDBOX_URL": running_emulator.sandbox_url,
    }
    return running_emulator


@pytest.fixture
def warehouse(emulator: Emulator, transactional_db: None) -> Iterator[Emulator]:
    """The emulator with mirroring on, and real transactions. No wake-ups are published: tests flush."""
    from django.conf import settings

    settings.RJMETRICS["CELERY"] = False
    with mirroring():
        yield emulator


@pytest.fixture
def outbox(settings: Any) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the locmem backend was given."""
    settings.RJMETRICS = {**settings.RJMETRICS, "BACKEND": "django_rjmetrics.backends.locmem.Backend"}
    locmem.outbox.clear()
    yield locmem.outbox
    locmem.outbox.clear()


@pytest.fixture
def mirror() -> Iterator[Callable[..., Mirror]]:
    """Registers a mirror for the test's length: ``mirror(Model, fields=[...], ...)`` or ``mirror(Model, Class)``.

    Replaces the one that the model has.
    """
    made: list[type[Model]] = []
    replaced: list[tuple[type[Model], type[Mirror]]] = []

    def make(model: type[Model], mirror_class: type[Mirror] | None = None, **attributes: Any) -> Mirror:
        if registry.is_registered(model):
            found = registry.get(model._meta.label)
            if model not in made:
                replaced.append((model, type(found)))
            registry.unregister(model)
        registry.register(model, mirror_class or type("TestMirror", (Mirror,), attributes))
        made.append(model)
        return registry.get(model._meta.label)

    yield make
    for model in filter(registry.is_registered, dict.fromkeys(made)):
        registry.unregister(model)
    for model, mirror_class in replaced:
        registry.register(model, mirror_class)


@pytest.fixture(autouse=True)
def _as_a_new_process() -> Iterator[None]:
    """What a process has learned by itself is forgotten between tests."""
    yield
    marks._proven.clear()
    marks._complained.clear()
    assert switches.mirroring_in_tests == 0
