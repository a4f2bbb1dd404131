"""How delivery goes: back-off, pauses, rejections, and the status that people read."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from ..clock import SECOND, database_now
from ..exceptions import AllRefused, CredentialsRefused, DeliveryError
from ..mirror import Mirror
from ..models import Lease, Mark, MirrorState, Rejection
from ..retry import retry_delay
from .claims import EVERYWHERE
from .marks import append

PROBE_SECONDS = 60


@dataclass
class Status:
    """One mirror's line of the status; times are aware, ages and waits in seconds."""

    mirror: str
    table: str
    database: str
    pending: int
    oldest_pending: float | None
    in_flight: int
    rejected: int
    last_success: dt.datetime | None
    last_error: str
    last_error_at: dt.datetime | None
    backing_off: float
    paused: bool


def back_off(label: str, using: str, error: DeliveryError) -> float:
    """Leave the API alone for a while, because of ``error``; returns for how many seconds.

    For the mirror, or for all of them where the error is everywhere. Workers that fail together count as one.
    """
    name = EVERYWHERE if error.everywhere else label
    paused = isinstance(error, (AllRefused, CredentialsRefused))
    states = MirrorState.objects.using(using)
    states.bulk_create([MirrorState(mirror=name)], ignore_conflicts=True)
    now = database_now(using)
    failures = states.values_list("failures", flat=True).get(mirror=name) + 1
    delay = PROBE_SECONDS if isinstance(error, CredentialsRefused) else retry_delay(failures, error.retry_after)
    states.filter(mirror=name, resume_at__lte=now).update(
        failures=failures, resume_at=now + int(delay * SECOND), paused=paused
    )
    states.filter(mirror=name).update(last_error=str(error), last_error_at=timezone.now())
    return delay


def recovered(label: str, using: str) -> None:
    """The API took something of the mirror: nothing stands in the way any more."""
    troubled = MirrorState.objects.using(using).filter(mirror__in=[label, EVERYWHERE], failures__gt=0)
    troubled.update(failures=0, resume_at=0, paused=False)


def note_error(label: str, using: str, message: str) -> None:
    """Keep an error for the status."""
    states = MirrorState.objects.using(using)
    states.bulk_create([MirrorState(mirror=label)], ignore_conflicts=True)
    states.filter(mirror=label).update(last_error=message, last_error_at=timezone.now())


def held_back(using: str) -> tuple[float, bool]:
    """How many seconds all mirrors have to wait, and whether a probe of the credentials is due now.

    A due probe is the caller's alone: the others are told to wait for it.
    """
    states = MirrorState.objects.using(using).filter(mirror=EVERYWHERE)
    state = states.first()
    if state is None or not state.failures:
        return 0.0, False
    now = database_now(using)
    if state.resume_at > now:
        return (state.resume_at - now) / SECOND, False
    if not state.paused:
        return 0.0, False
    mine = states.filter(resume_at=state.resume_at).update(resume_at=now + PROBE_SECONDS * SECOND)
    return (0.0, True) if mine else (float(PROBE_SECONDS), False)


def retry_rejected(mirror: Mirror, using: str) -> int:
    """Mark the mirror's rejected records to be sent again; returns how many."""
    count = 0
    for page in _rejection_pages(mirror, using):
        with transaction.atomic(using=using):
            append(using, [(mirror.label, item.key, item.tombstone_keys) for item in page])
            Rejection.objects.using(using).filter(id__in=[item.pk for item in page]).delete()
        count += len(page)
    return count


def _rejection_pages(mirror: Mirror, using: str) -> Iterable[list[Rejection]]:
    after = 0
    rejections = Rejection.objects.using(using).filter(mirror=mirror.label).order_by("id")
    while page := list(rejections.filter(id__gt=after)[:500]):
        yield page
        after = page[-1].pk


def discard_rejected(mirror: Mirror, using: str) -> int:
    """Forget the mirror's rejected records; returns how many."""
    count, _ = Rejection.objects.using(using).filter(mirror=mirror.label).delete()
    return count


def has_marks(mirror: Mirror, using: str) -> bool:
    """Whether anything of the mirror is pending; looks at one row at the most."""
    return Mark.objects.using(using).filter(mirror=mirror.label).exists()


def status(mirror: Mirror, using: str) -> Status:
    """The mirror's line of the status in one database."""
    marks = Mark.objects.using(using).filter(mirror=mirror.label)
    now = database_now(using)
    since = marks.order_by("id").values_list("marked_at", flat=True).first()
    leases = Lease.objects.using(using).filter(mirror=mirror.label, expires_at__gt=now)
    rows = MirrorState.objects.using(using).filter(mirror__in=[mirror.label, EVERYWHERE])
    states = {state.mirror: state for state in rows}
    own = states.get(mirror.label, MirrorState())
    everywhere = states.get(EVERYWHERE, MirrorState())
    latest = everywhere if everywhere.failures and everywhere.last_error else own
    return Status(
        mirror=mirror.label,
        table=mirror.table_name,
        database=using,
        pending=marks.values("key").distinct().count(),
        oldest_pending=None if since is None else max(0.0, (now - since) / SECOND),
        in_flight=sum(len(json.loads(keys)) for keys in leases.values_list("keys", flat=True)),
        rejected=Rejection.objects.using(using).filter(mirror=mirror.label).count(),
        last_success=own.last_success_at,
        last_error=latest.last_error,
        last_error_at=latest.last_error_at,
        backing_off=max(0.0, (max(own.resume_at, everywhere.resume_at) - now) / SECOND),
        paused=own.paused or everywhere.paused,
    )
