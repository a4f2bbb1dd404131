"""What the commands share: naming mirrors and databases, and errors of one line that name the valid choices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from ..capture.switches import active, in_test_environment
from ..checks import settings_problems
from ..conf import settings
from ..exceptions import OpenTransaction
from ..mirror import Mirror
from ..registry import registry

NO_MIRRORS = "No mirrors are registered: write a mirrors.py in one of your apps."


class OneLineCommand(BaseCommand):
    """A command whose usage errors are one line."""

    # They would be many lines; what stands in the way of the command itself is told by the command.
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Make the parser, which keeps the usage for --help."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.print_usage = lambda file=None: None  # type: ignore[method-assign]
        return parser


def usage_error(message: str) -> CommandError:
    """A one-line error that ends the command with exit code 2."""
    return CommandError(message, returncode=2)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what the set-up, an open transaction or the database make impossible into one-line errors."""
    try:
        yield
    except (ImproperlyConfigured, OpenTransaction) as error:
        raise usage_error(str(error)) from None
    except DatabaseError as error:
        raise CommandError(
            f"The database failed: {first_line(error)}. Are all migrations applied (manage.py migrate)?",
            returncode=1,
        ) from error


def first_line(error: Exception) -> str:
    """An exception's text without what databases write below it."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(kind: Callable[[str], float], smallest: float, largest: float | None = None) -> Callable[[str], float]:
    """An argparse type: an int or float within bounds."""
    what = "a whole number" if kind is int else "a number"
    bounds = f"of {smallest} or more" if largest is None else f"from {smallest} to {largest}"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = smallest - 1
        # Written so that NaN is out of bounds.
        if not (value >= smallest and (largest is None or value <= largest)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what} {bounds}")
        return value

    return parse


def mirrors_named(names: Sequence[str]) -> list[Mirror]:
    """The mirrors of these names, model labels or tables; all of them for none. Mistakes are usage errors."""
    if not list(registry):
        raise usage_error(NO_MIRRORS)
    mirrors = []
    for name in names:
        mirror = registry.get(name)
        if mirror is None:
            choices = ", ".join(f"{mirror.label} ({mirror.table_name})" for mirror in registry)
            raise usage_error(f"There is no mirror {name!r}. The mirrors are: {choices}.")
        if mirror not in mirrors:
            mirrors.append(mirror)
    mirrors = mirrors or list(registry)
    with plain_errors():
        for mirror in mirrors:
            mirror.plan  # noqa: B018 - resolves it
    return mirrors


def database_named(alias: str) -> str:
    """The alias, if it is one."""
    if alias not in connections:
        raise usage_error(f"There is no database {alias!r}. The databases are: {', '.join(connections)}.")
    return alias


def refuse_bad_settings() -> None:
    """Usage error for the first setting that has no sense."""
    for problem in settings_problems():
        raise usage_error(f"{problem.msg} {problem.hint} ({problem.id})")


def refuse_inactive() -> None:
    """Usage error where nothing may be sent."""
    if active():
        return
    if settings.ENABLED and in_test_environment():
        raise usage_error(
            "Nothing is sent inside Django's test environment: wrap the test in "
            "django_rjmetrics.testing.mirroring()."
        )
    raise usage_error('RJMETRICS["ENABLED"] is False: nothing is sent.')
