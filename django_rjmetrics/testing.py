"""For the tests of projects that use the app.

Inside Django's test environment nothing is marked or sent, so that installing the app changes no query count.
A test that is about mirroring asks for it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .capture import switches
from .delivery import Report
from .flush import flush as _flush
from .registry import registry

__all__ = ["flush", "mirroring"]


@contextmanager
def mirroring() -> Iterator[None]:
    """Within it, or in a function it decorates, changes are marked and may be sent, by all threads alike."""
    switches.mirroring_in_tests += 1
    try:
        yield
    finally:
        switches.mirroring_in_tests -= 1


def flush(using: str = "default") -> dict[str, Report]:
    """Send what is pending to the configured backend, now, in this thread, inside a TestCase too.

    Returns what came of each mirror, by label.
    """
    return _flush(list(registry), using).reports
