"""Marks what changed behind Django's back, because somebody says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import router, transaction
from django.db.models import Model, QuerySet

from .. import keys, wakeup
from ..exceptions import NotRegistered
from ..pending.marks import PAGE, append
from .signals import mirrors_of
from .switches import capturing


def mark(records: QuerySet[Any] | Iterable[Model]) -> int:
    """Mark records to be sent again: rows of a queryset, or instances of one model or several.

    Use it after ``bulk_create()``, ``update()``, raw SQL and the like, in the same transaction. A queryset's
    rows are not loaded, only their keys. Returns how many records were marked: none under ``ignore_changes()``
    or while mirroring is off. Raises NotRegistered for a model without a mirror.
    """
    if isinstance(records, QuerySet):
        using = records._db or router.db_for_write(records.model)  # type: ignore[attr-defined]
        rows = records.using(using).order_by().values_list("pk", flat=True).iterator()
        return _append(using, records.model, rows) if capturing() else 0
    count = 0
    for instance in records if capturing() else ():
        using = instance._state.db or router.db_for_write(type(instance), instance=instance)
        count += _append(using, type(instance), [instance.pk])
    return count


def _append(using: str, model: type[Model], primary_keys: Iterable[Any]) -> int:
    mirrors = mirrors_of(model)
    if not mirrors:
        raise NotRegistered(f"{model._meta.label} has no mirror.")
    count = 0
    with transaction.atomic(using=using, savepoint=False):
        for page in _pages(iter(primary_keys)):
            append(using, [(mirror.label, keys.encode(key), None) for mirror in mirrors for key in page])
            count += len(page)
    wakeup.after_commit(using)
    return count


def _pages(primary_keys: Iterator[Any]) -> Iterator[list[Any]]:
    while page := list(islice(primary_keys, PAGE)):
        yield page
