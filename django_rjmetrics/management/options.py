"""What the commands share: naming mirrors and databases, and errors that name the valid choices."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from ..capture.switches import active, in_test_environment
from ..mirror import Mirror
from ..registry import registry


def usage_error(message: str) -> CommandError:
    """A one-line error that ends the command with exit code 2."""
    return CommandError(message, returncode=2)


def mirrors_named(names: Sequence[str]) -> list[Mirror]:
    """The mirrors of these names, model labels or tables; all of them for none. Mistakes are usage errors."""
    if not list(registry):
        raise usage_error("No mirrors are registered: write a mirrors.py in one of your apps.")
    mirrors = []
    for name in names:
        mirror = registry.get(name)
        if mirror is None:
            choices = ", ".join(f"{mirror.label} ({mirror.table_name})" for mirror in registry)
            raise usage_error(f"There is no mirror {name!r}. The mirrors are: {choices}.")
        if mirror not in mirrors:
            mirrors.append(mirror)
    mirrors = mirrors or list(registry)
    for mirror in mirrors:
        try:
            mirror.plan  # noqa: B018 - resolves it
        except ImproperlyConfigured as error:
            raise usage_error(str(error)) from None
    return mirrors


def database_named(alias: str) -> str:
    """The alias, if it is one."""
    if alias not in connections:
        raise usage_error(f"There is no database {alias!r}. The databases are: {', '.join(connections)}.")
    return alias


def refuse_inactive() -> None:
    """Usage error where nothing may be sent."""
    if active():
        return
    if in_test_environment():
        raise usage_error(
            "Nothing is sent inside Django's test environment: wrap the test in "
            "django_rjmetrics.testing.mirroring()."
        )
    raise usage_error('RJMETRICS["ENABLED"] is False: nothing is sent.')
