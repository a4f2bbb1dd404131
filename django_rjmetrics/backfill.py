"""Backfill: walks a mirror's keys and feeds the engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from . import keys
from .backends import BaseBackend
from .delivery import Delivery, Report, refuse_open_transaction
from .exceptions import RecordError
from .keys import Key
from .mirror import Mirror
from .pages import Page
from .pending import claims
from .pending.claims import Marked

# Batches a page: one query for its keys, one for its rows, one lease.
PAGE_BATCHES = 10
SAMPLE = 3


@dataclass(frozen=True)
class Scope:
    """Which rows of a mirror to send: those ``modified`` at ``since`` (aware) or later, at most ``limit``."""

    since: dt.datetime | None = None
    limit: int | None = None

    def rows(self, mirror: Mirror, using: str) -> QuerySet[Any]:
        """The rows, by primary key, not yet limited."""
        rows = mirror.rows(using).order_by("pk")
        if self.since is not None:
            rows = rows.filter(**{f"{mirror.modified}__gte": self.since})
        return rows

    def count(self, mirror: Mirror, using: str) -> int:
        """How many rows that is, about: one COUNT, for the progress bar."""
        count = self.rows(mirror, using).order_by().count()
        return count if self.limit is None else min(count, self.limit)

    def pages(self, mirror: Mirror, using: str, size: int) -> Iterator[list[Key]]:
        """The primary keys, in pages of up to ``size``, each page found from the last one's end."""
        rows = self.rows(mirror, using)
        left = self.limit
        page: list[Key] = []
        while left is None or left > 0:
            wanted = size if left is None else min(size, left)
            after = rows.filter(pk__gt=page[-1]) if page else rows
            page = list(dict.fromkeys(after.values_list("pk", flat=True)[:wanted]))
            if not page:
                return
            yield page
            left = None if left is None else left - len(page)


def backfill(
    mirror: Mirror,
    using: str,
    backend: BaseBackend,
    *,
    scope: Scope,
    batch_size: int,
    concurrency: int,
    leased: bool,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Report:
    """Send the rows of a mirror in the database ``using`` through an open backend.

    ``leased`` takes a lease on each page, as anything sent to production must; a sandbox run takes none.
    ``on_progress`` is called with the number of rows just dealt with. A failing API is tried again for some
    minutes, then it is the report's error. Raises OpenTransaction inside a transaction.
    """
    delivery = Delivery(
        backend,
        using,
        batch_size=batch_size,
        concurrency=concurrency,
        persistent=True,
        on_progress=on_progress,
    )
    size = batch_size * PAGE_BATCHES

    def pages() -> Iterator[Page]:
        for page in scope.pages(mirror, using, size):
            if delivery.stopped(mirror):
                return
            held, free = claims.lease(mirror, using, page) if leased else (None, page)
            # Rows in flight elsewhere are marked, and go with a flush.
            delivery.report(mirror).skipped += len(page) - len(free)
            on_progress(len(page) - len(free))
            if free:
                marked = {key: Marked(keys.encode(key)) for key in free}
                yield Page(mirror, using, held, marked, tombstones=False)

    delivery.run(pages())
    return delivery.report(mirror)


@dataclass
class DryRun:
    """What a dry run found: how many rows can be sent, why others can't, and the first data points' JSON."""

    sendable: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)


def dry_run(
    mirror: Mirror, using: str, *, scope: Scope, on_progress: Callable[[int], None] = lambda rows: None
) -> DryRun:
    """Read and serialise the rows as a backfill would, and send nothing."""
    refuse_open_transaction(using)
    found = DryRun()
    for page in scope.pages(mirror, using, 1_000):
        for _, point in mirror.data_points(page, using):
            if isinstance(point, RecordError):
                found.rejected += 1
                found.reasons[str(point)] = found.reasons.get(str(point), 0) + 1
                continue
            found.sendable += 1
            if len(found.sample) < SAMPLE:
                found.sample.append(point.decode())
        on_progress(len(page))
    return found
