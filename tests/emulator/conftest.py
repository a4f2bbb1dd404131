from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_rjmetrics.emulator import Emulator

from .http_client import Client


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Client]:
    with Client(emulator.url) as client:
        yield client
