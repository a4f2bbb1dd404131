"""Whether changes are being noticed: here, now, in this context."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..conf import settings

_ignoring: ContextVar[bool] = ContextVar("django_rjmetrics_ignoring", default=False)

# How many times django_rjmetrics.testing was asked to mirror; process-wide, since a test's live server and
# workers are threads of their own.
mirroring_in_tests = 0


@contextmanager
def ignore_changes() -> Iterator[None]:
    """Within it, changes made by this thread or coroutine are not marked; those of others are.

    What was ignored reaches the warehouse with the record's next change, a ``mark()`` or a backfill.
    """
    token = _ignoring.set(True)
    try:
        yield
    finally:
        _ignoring.reset(token)


def active() -> bool:
    """Whether marking and sending are on: ENABLED, and not inside Django's test environment unless asked for."""
    return settings.ENABLED and (mirroring_in_tests > 0 or not in_test_environment())


def capturing() -> bool:
    """Whether a change made here and now is to be marked."""
    return not _ignoring.get() and active()


def in_test_environment() -> bool:
    """Whether Django's ``setup_test_environment()`` is in force."""
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")
