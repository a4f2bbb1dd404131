"""System checks: a mistake in the set-up is told by ``manage.py check``, not by a traceback from a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import celery
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from . import clock, conf
from .backends import get_backend
from .conf import settings
from .mirror import Mirror
from .pending.claims import databases
from .registry import registry
from .validation import keys_unique, mirror_problems, secret_columns
from .wakeup import FLUSH

HTTP_BACKEND = "django_rjmetrics.backends.http.Backend"

# name: (types, smallest, largest, what to write)
RANGES: dict[str, tuple[type[int] | tuple[type[int], type[float]], float, float, str]] = {
    "BATCH_SIZE": (int, 1, 100, "an integer from 1 to 100, the API's limit"),
    "MAX_BODY_BYTES": (int, 1_024, 5_242_880, "an integer from 1024 to 5242880"),
    "CONCURRENCY": (int, 1, 64, "an integer from 1 to 64"),
    "TIMEOUT": ((int, float), 0.1, 300, "seconds, from 0.1 to 300"),
    "LINGER": ((int, float), 0, 300, "seconds, from 0 to 300"),
}
SWITCHES = ("SANDBOX", "ALLOW_HTTP", "ENABLED", "CELERY")


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings)
    checks.register(check_mirrors)
    checks.register(check_surroundings)


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """E001 to E003: ``settings.RJMETRICS``."""
    found: list[checks.CheckMessage] = list(settings_problems())
    if settings.ENABLED is True and isinstance(_given(), dict):
        found += _backend_problems()
    return found


def _given() -> Any:
    given = getattr(django_settings, "RJMETRICS", None)
    return {} if given is None else given


def settings_problems() -> Iterator[checks.Error]:
    """What is wrong with the names, types and ranges in ``settings.RJMETRICS``."""
    given = _given()
    if not isinstance(given, dict):
        yield checks.Error(
            "RJMETRICS is not a dictionary.",
            hint='Write RJMETRICS = {"CLIENT_ID": ..., "API_KEY": ...}.',
            id="rjmetrics.E001",
        )
        return
    for name in sorted(set(given) - conf.NAMES, key=str):
        yield checks.Error(
            f"RJMETRICS has no setting {name!r}.",
            hint=f"The settings are: {', '.join(sorted(conf.NAMES))}.",
            id="rjmetrics.E001",
        )
    for name, (types, smallest, largest, what) in RANGES.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, types) or not smallest <= value <= largest:
            yield checks.Error(
                f"RJMETRICS[{name!r}] is {value!r}.", hint=f"Set it to {what}.", id="rjmetrics.E002"
            )
    for name in SWITCHES:
        value = getattr(settings, name)
        if not isinstance(value, bool):
            yield checks.Error(
                f"RJMETRICS[{name!r}] is {value!r}.", hint="Set it to True or False.", id="rjmetrics.E002"
            )


def _backend_problems() -> Iterator[checks.CheckMessage]:
    hint = 'Set it right, or RJMETRICS["ENABLED"] to False where nothing is to be sent.'
    try:
        backend = get_backend()
        backend.open()
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), hint=hint, id="rjmetrics.E003")
    except Exception as error:  # noqa: BLE001 - somebody's own backend
        yield checks.Error(
            f"RJMETRICS['BACKEND'] is {settings.BACKEND!r}, which does not open: {type(error).__name__}.",
            hint=hint,
            id="rjmetrics.E003",
        )
    else:
        backend.close()


def check_mirrors(**kwargs: Any) -> list[checks.CheckMessage]:
    """E010 to E020, W001, W004 and W005: the registered mirrors."""
    found: list[checks.CheckMessage] = []
    tables: dict[str, str] = {}
    for mirror in registry:
        problems = mirror_problems(mirror)
        found += [checks.Error(p.message, hint=p.hint, obj=type(mirror), id=p.id) for p in problems]
        table = mirror.table_name
        if isinstance(table, str) and tables.setdefault(table, mirror.label) != mirror.label:
            found.append(
                checks.Error(
                    f"{tables[table]} and {mirror.label} are both mirrored to the table {table!r}.",
                    hint="Set table in one of the mirrors.",
                    obj=type(mirror),
                    id="rjmetrics.E013",
                )
            )
        if not problems:
            found += _soundness(mirror)
    return found


def _soundness(mirror: Mirror) -> Iterator[checks.CheckMessage]:
    """What may be meant, of a mirror that can be sent."""
    name = f"{type(mirror).__name__} ({mirror.label})"
    kind = type(mirror)
    alias = router.db_for_write(mirror.model)
    vendor = connections[alias].vendor
    if vendor not in clock.SQL:
        yield checks.Error(
            f"{name}: the database {alias!r} is of the kind {vendor!r}, where changes can't be marked.",
            hint=f"These can: {', '.join(clock.SQL)}. Unregister the mirror.",
            obj=kind,
            id="rjmetrics.E020",
        )
    if "__" in mirror.table_name:
        yield checks.Warning(
            f"{name}: the table name {mirror.table_name!r} has a double underscore.",
            hint="The warehouse was seen to trip over these: use single ones.",
            obj=kind,
            id="rjmetrics.W004",
        )
    if secrets := secret_columns(mirror):
        yield checks.Warning(
            f"{name} sends what looks like a secret: {', '.join(secrets)}.",
            hint="Drop it from fields or exclude it; if it is none, silence rjmetrics.W001.",
            obj=kind,
            id="rjmetrics.W001",
        )
    if not keys_unique(mirror):
        yield checks.Warning(
            f"{name}: nothing keeps the remote key ({', '.join(mirror.keys)}) unique.",
            hint="Rows with equal keys overwrite each other in the warehouse: constrain the fields to be unique.",
            obj=kind,
            id="rjmetrics.W005",
        )


def check_surroundings(**kwargs: Any) -> list[checks.CheckMessage]:
    """W002 and W003: the sweep, and SQLite's transactions."""
    found: list[checks.CheckMessage] = []
    if settings.ENABLED and settings.CELERY and not _sweep_scheduled():
        found.append(
            checks.Warning(
                "No sweep is scheduled: what is pending when a process dies would wait for the next save.",
                hint=f"Have Celery beat run {FLUSH!r} every minute (CELERY_BEAT_SCHEDULE). If cron runs "
                "rjmetrics_flush, rjmetrics_flush --watch is a service or beat's schedule is elsewhere, "
                "silence rjmetrics.W002.",
                id="rjmetrics.W002",
            )
        )
    for alias in databases():
        connection: Any = connections[alias]
        mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode")).upper()
        if (
            connection.vendor == "sqlite"
            and mode not in {"IMMEDIATE", "EXCLUSIVE"}
            and not connection.is_in_memory_db()
        ):
            found.append(
                checks.Warning(
                    f"The SQLite database {alias!r} starts its transactions as DEFERRED.",
                    hint="A worker's commit makes others' fail with \"database is locked\": set "
                    'OPTIONS = {"transaction_mode": "IMMEDIATE"}.',
                    id="rjmetrics.W003",
                )
            )
    return found


def _sweep_scheduled() -> bool:
    schedule = celery.current_app.conf.beat_schedule or {}
    entries = schedule.values() if isinstance(schedule, Mapping) else ()
    return any(
        (entry.get("task") if isinstance(entry, Mapping) else getattr(entry, "task", None)) == FLUSH
        for entry in entries
    )
