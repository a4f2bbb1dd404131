"""The database's clock, the one that all workers of a project share.

Whole microseconds since the Unix epoch, as an integer: exact and comparable on every database, whatever
TIME_ZONE, USE_TZ or the session's time zone say.
"""

from __future__ import annotations

from typing import Any

from django.db import NotSupportedError, connections
from django.db.models import BigIntegerField, Func
from django.db.models.sql.compiler import SQLCompiler

SECOND = 1_000_000

SQL = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)",
    # Not UNIX_TIMESTAMP(NOW(6)): that is ambiguous for an hour each autumn.
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
}


def now_sql(vendor: str) -> str:
    """The SQL expression of the clock for a ``connection.vendor``; NotSupportedError for one we don't know."""
    try:
        return SQL[vendor]
    except KeyError:
        raise NotSupportedError(f"django_rjmetrics supports {', '.join(SQL)}, not {vendor}.") from None


class DatabaseNow(Func):
    """The clock as a query expression, an integer of microseconds."""

    output_field = BigIntegerField()

    def as_sql(self, compiler: SQLCompiler, connection: Any, *args: Any, **extra: Any) -> Any:
        return now_sql(connection.vendor), []


def database_now(using: str) -> int:
    """The clock of the database alias ``using``, in microseconds; one query."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {now_sql(connection.vendor)}")
        return int(cursor.fetchone()[0])
