"""Appends marks, in the transaction that changed the data."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from django.db import DatabaseError, connections, transaction

from ..clock import now_sql
from ..models import Mark

logger = logging.getLogger("django_rjmetrics")

# (mirror's label, key's text, key columns of a deleted row as JSON)
Entry: TypeAlias = tuple[str, str, "str | None"]

# Rows an INSERT: 3 parameters each, under the 999 of an old SQLite.
PAGE = 300
COMPLAIN_EVERY = 60.0

# Aliases whose table has taken a mark in this process.
_proven: set[str] = set()
_complained: dict[str, float] = {}
_complaining = threading.Lock()


@lru_cache(maxsize=PAGE)
def _insert_sql(vendor: str, rows: int) -> str:
    columns = "mirror, {q}key{q}, tombstone_keys, marked_at".format(q="`" if vendor == "mysql" else '"')
    row = f"(%s, %s, %s, {now_sql(vendor)})"
    return f"INSERT INTO {Mark._meta.db_table} ({columns}) VALUES {', '.join([row] * rows)}"  # noqa: S608


def append(using: str, entries: Sequence[Entry]) -> None:
    """Append a mark for each entry in the current transaction of ``using``: one plain INSERT for up to 300.

    Where the tables are not migrated yet nothing is marked, the transaction goes on, and one error a minute
    says so. Any other database error is the caller's, like that of any statement of its own.
    """
    if not entries:
        return
    if using in _proven:
        _insert(using, entries)
        return
    try:
        # Only until the first mark is in: a failed statement would cost PostgreSQL the whole transaction.
        with transaction.atomic(using=using):
            _insert(using, entries)
    except DatabaseError as error:
        if _migrated(using):
            raise
        _complain(using, error)
    else:
        _proven.add(using)


def _insert(using: str, entries: Sequence[Entry]) -> None:
    connection = connections[using]
    with connection.cursor() as cursor:
        for start in range(0, len(entries), PAGE):
            page = entries[start : start + PAGE]
            cursor.execute(_insert_sql(connection.vendor, len(page)), [value for entry in page for value in entry])


def _migrated(using: str) -> bool:
    connection = connections[using]
    with connection.cursor() as cursor:
        table = Mark._meta.db_table
        if table not in connection.introspection.table_names(cursor):
            return False
        present = {column.name for column in connection.introspection.get_table_description(cursor, table)}
    return present >= {field.column for field in Mark._meta.concrete_fields}


def _complain(using: str, error: DatabaseError) -> None:
    with _complaining:
        now = time.monotonic()
        if now - _complained.get(using, -COMPLAIN_EVERY) < COMPLAIN_EVERY:
            return
        _complained[using] = now
    logger.error(
        "Changes are not being mirrored: the tables of django_rjmetrics in the database %r are not migrated "
        "(%s). Run: manage.py migrate django_rjmetrics --database %s, then rjmetrics_backfill.",
        using,
        str(error).splitlines()[0],
        using,
    )
