"""Takes pending keys under a lease, and settles what came of them.

Whatever workers change, they change under one short lock on the mirror's state row, which every such
transaction takes first.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connections, router, transaction
from django.db.models import F
from django.utils import timezone

from .. import keys
from ..clock import SECOND, DatabaseNow
from ..conf import settings
from ..keys import Key
from ..mirror import Mirror
from ..models import Lease, Mark, MirrorState, Rejection
from .marks import append

# The state row that speaks for all mirrors.
EVERYWHERE = "*"

# Pages of marks that one claim reads.
PAGES_AT_MOST = 20

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Marked:
    """A pending key.

    Attributes:
        text: the key as its marks hold it.
        ids: the marks that a claim read; none for a backfill's key.
        since, until: when the oldest and the newest of them were appended, in microseconds of the clock.
        tombstone_keys: the key columns that the newest deletion left, as JSON.
    """

    text: str
    ids: list[int] = field(default_factory=list)
    since: int = 0
    until: int = 0
    tombstone_keys: str | None = None


@dataclass
class Held:
    """A lease as its worker knows it: ``until`` is by this process's monotonic clock, and never late."""

    id: int
    using: str
    until: float


@dataclass
class Claim:
    """What one claim came to.

    Attributes:
        held: the lease, or None where nothing was taken.
        marked: the keys to send, in the order of their oldest marks.
        unreadable: marks whose key the model's field doesn't understand.
        failures: how often in a row the mirror's delivery has failed.
        after: where the next claim of this run goes on, or None at the end.
    """

    held: Held | None = None
    marked: dict[Key, Marked] = field(default_factory=dict)
    unreadable: list[Marked] = field(default_factory=list)
    failures: int = 0
    after: int | None = None


@dataclass
class Settlement:
    """What became of a page of keys; ``ambiguous`` ones by their text."""

    delivered: list[Marked] = field(default_factory=list)
    rejected: list[tuple[Marked, str]] = field(default_factory=list)
    ambiguous: dict[str, Marked] = field(default_factory=dict)


def databases() -> list[str]:
    """The aliases of the databases that hold, or may hold, marks."""
    return [alias for alias in connections if router.allow_migrate_model(alias, Mark)]


def _retried(function: Callable[P, T]) -> Callable[P, T]:
    """Runs a worker's transaction again where another one got in its way: deadlocks, SQLite's single writer."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(4):
            try:
                return function(*args, **kwargs)
            except OperationalError:
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - spreads load
        return function(*args, **kwargs)

    return wrapper


@contextmanager
def _transaction(using: str) -> Iterator[None]:
    """A worker's transaction: READ COMMITTED wherever that is a choice, so that what it reads after it got the
    lock is what the lock's last holder left."""
    connection = connections[using]
    isolate = not connection.in_atomic_block
    statement = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
    if isolate and connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(statement)
    with transaction.atomic(using=using, durable=True):
        if isolate and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(statement)
        yield


def _lock(label: str, using: str) -> tuple[int, bool, int]:
    """Locks the mirror's state row; returns its failures, whether it backs off, and the database's clock.

    A write comes first on purpose: SQLite waits for its lock only then, and REPEATABLE READ on MariaDB takes
    its snapshot after it.
    """
    states = MirrorState.objects.using(using)
    if not states.filter(mirror=label).update(claims=F("claims") + 1):
        states.bulk_create([MirrorState(mirror=label)], ignore_conflicts=True)
        states.filter(mirror=label).update(claims=F("claims") + 1)
    rows = states.filter(mirror__in=[label, EVERYWHERE]).annotate(clock=DatabaseNow())
    found = {
        name: (failures, end, now)
        for name, failures, end, now in rows.values_list("mirror", "failures", "resume_at", "clock")
    }
    failures, _, now = found[label]
    return failures, any(end > now for _, end, _ in found.values()), now


def _leased(mirror: Mirror, using: str, now: int) -> set[Key]:
    """The keys that other workers hold; leases that have ended go."""
    leases = Lease.objects.using(using).filter(mirror=mirror.label)
    leases.filter(expires_at__lte=now).delete()
    held = leases.values_list("keys", flat=True)
    return {keys.decode(mirror.model, text) for page in held for text in json.loads(page)}


def _grant(label: str, using: str, texts: Sequence[str], now: int, started: float) -> Held:
    seconds = settings.lease_seconds
    lease = Lease.objects.using(using).create(
        mirror=label,
        keys=json.dumps(texts, separators=(",", ":")),
        expires_at=now + int(seconds * SECOND),
    )
    return Held(lease.pk, using, started + seconds)


@_retried
def claim(mirror: Mirror, using: str, *, after: int, limit: int, batch_size: int, linger: float) -> Claim:
    """Take up to ``limit`` keys of a mirror, oldest mark first, from the mark id ``after`` on, under a lease.

    Keys that are leased are passed over. Keys that don't fill a batch of ``batch_size`` are left until the
    oldest of them is ``linger`` seconds old. Nothing is taken while the mirror backs off.
    """
    started = time.monotonic()
    with _transaction(using):
        failures, backs_off, now = _lock(mirror.label, using)
        if backs_off:
            return Claim()
        result, last = _read(mirror, using, after, limit, _leased(mirror, using, now))
        result.failures = failures
        items = list(result.marked.items())
        due = _due([item for _, item in items], batch_size, now - int(linger * SECOND), last is not None)
        result.marked = dict(items[:due])
        if last is not None:
            result.after = items[due][1].ids[0] - 1 if due < len(items) else last
        if result.marked or result.unreadable:
            texts = [item.text for item in result.marked.values()]
            result.held = _grant(mirror.label, using, texts, now, started)
        return result


def _read(mirror: Mirror, using: str, after: int, limit: int, leased: set[Key]) -> tuple[Claim, int | None]:
    """The marks from ``after`` on, by key, and the last one's id if there are more.

    Reads on while they name the same keys over and over: a hot row's backlog is one data point.
    """
    found = Claim()
    of_mirror = Mark.objects.using(using).filter(mirror=mirror.label).order_by("id")
    marks = of_mirror.values_list("id", "key", "tombstone_keys", "marked_at")
    for _ in range(PAGES_AT_MOST):
        page = list(marks.filter(id__gt=after)[:limit])
        for mark_id, text, tombstone_keys, marked_at in page:
            try:
                key = keys.decode(mirror.model, text)
            except Exception:  # noqa: BLE001 - whatever the field raises for a text it doesn't know
                found.unreadable.append(Marked(text, [mark_id]))
                continue
            if key in leased:
                continue
            item = found.marked.setdefault(key, Marked(text, since=marked_at))
            item.ids.append(mark_id)
            item.until = marked_at
            item.tombstone_keys = tombstone_keys or item.tombstone_keys
        if len(page) < limit:
            return found, None
        after = page[-1][0]
        if len(found.marked) >= limit:
            break
    return found, after


def _due(items: Sequence[Marked], batch_size: int, due_at: int, more: bool) -> int:
    """How many of the items to send now: full batches, and a short one if its oldest mark is due."""
    full = len(items) - len(items) % batch_size
    if full == len(items):
        return full
    if more:
        # What is left over fills up with the next page's; without a single full batch it would never go.
        return full or len(items)
    return len(items) if items[full].since <= due_at else full


@_retried
def lease(mirror: Mirror, using: str, page: Sequence[Key]) -> tuple[Held | None, list[Key]]:
    """Lease a page of keys for a backfill.

    Returns the lease and the keys it covers. Keys that another worker has in flight are left out, and marked:
    should that worker die, they are sent all the same.
    """
    started = time.monotonic()
    with _transaction(using):
        _, _, now = _lock(mirror.label, using)
        leased = _leased(mirror, using, now)
        free = [key for key in page if key not in leased]
        append(using, [(mirror.label, keys.encode(key), None) for key in page if key in leased])
        if not free:
            return None, []
        return _grant(mirror.label, using, [keys.encode(key) for key in free], now, started), free


def renew(held: Held) -> bool:
    """Prolong a lease from now on; False if it is lost: another worker may have its keys."""
    started = time.monotonic()
    seconds = settings.lease_seconds
    ends = DatabaseNow() + int(seconds * SECOND)
    renewed = Lease.objects.using(held.using).filter(id=held.id).update(expires_at=ends)
    held.until = started + seconds
    return bool(renewed)


@_retried
def settle(mirror: Mirror, held: Held, page: Iterable[Marked], outcome: Settlement) -> bool:
    """Acknowledge what was delivered, keep the rejections, and give the lease back.

    Records whose outcome is ambiguous stay under the lease to its end. If the lease was lost meanwhile, what
    was sent may have overtaken something newer: the whole page is marked again, and the answer is False.
    """
    using = held.using
    with _transaction(using):
        _lock(mirror.label, using)
        leases = Lease.objects.using(using).filter(id=held.id)
        if outcome.ambiguous:
            kept = leases.update(keys=json.dumps(list(outcome.ambiguous)))
        else:
            kept, _ = leases.delete()
        done = [*outcome.delivered, *(item for item, _ in outcome.rejected)]
        if not kept:
            append(using, [(mirror.label, item.text, item.tombstone_keys) for item in page])
            return False
        _delete_marks(using, [mark_id for item in done for mark_id in item.ids])
        rejections = Rejection.objects.using(using).filter(mirror=mirror.label)
        if done and rejections.exists():
            rejections.filter(key_digest__in=[keys.digest(item.text) for item in done]).delete()
        now = timezone.now()
        rejections.bulk_create(
            Rejection(
                mirror=mirror.label,
                key=item.text,
                key_digest=keys.digest(item.text),
                tombstone_keys=item.tombstone_keys,
                reason=reason,
                rejected_at=now,
            )
            for item, reason in outcome.rejected
        )
        if outcome.delivered:
            MirrorState.objects.using(using).filter(mirror=mirror.label).update(last_success_at=now)
        return True


def _delete_marks(using: str, ids: Sequence[int]) -> None:
    connection = connections[using]
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        if connection.vendor != "mysql":
            Mark.objects.using(using).filter(id__in=chunk)._raw_delete(using)
            continue
        # With an IN list the optimizer may scan the table, and wait there for every open checkout's new marks.
        wanted = " UNION ALL ".join(["SELECT %s AS id"] + ["SELECT %s"] * (len(chunk) - 1))
        table = connection.ops.quote_name(Mark._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(
                f"DELETE m FROM ({wanted}) wanted STRAIGHT_JOIN {table} m FORCE INDEX (PRIMARY) "
                "ON m.id = wanted.id",
                chunk,
            )
