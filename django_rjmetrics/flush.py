"""Flush: claims what is pending and feeds it to the engine."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

from .backends import BaseBackend, get_backend
from .conf import settings
from .delivery import Delivery, Report, refuse_open_transaction
from .exceptions import DeliveryError
from .mirror import Mirror
from .pages import Page
from .pending import claims, states
from .pending.claims import Settlement

logger = logging.getLogger("django_rjmetrics")

# Batches that one claim takes.
CLAIM_BATCHES = 10


@dataclass
class Flush:
    """What a flush of one database came to.

    Attributes:
        reports: what was sent and rejected, by the mirror's label.
        again_in: seconds after which to flush again: it failed, or the time was up. None: the next wake-up
            or sweep will do.
    """

    reports: dict[str, Report] = field(default_factory=dict)
    again_in: float | None = None


def flush(mirrors: Sequence[Mirror], using: str, *, linger: float = 0.0, seconds: float | None = None) -> Flush:
    """Send what is pending of the mirrors in the database ``using``, in this process.

    A short batch waits until its oldest mark is ``linger`` seconds old. After ``seconds`` no more is claimed.
    Raises OpenTransaction inside a transaction and ImproperlyConfigured where the backend can't be used; a
    failing API is no exception here but the report's error.
    """
    refuse_open_transaction(using)
    result = Flush()
    waiting = [mirror for mirror in mirrors if states.has_marks(mirror, using)]
    if not waiting:
        return result
    held_back, probe = states.held_back(using)
    if held_back:
        # Whoever was there first comes back; a task of each that asked meanwhile would only pile up.
        return result
    ends = None if seconds is None else time.monotonic() + seconds
    with get_backend() as backend:
        if probe and not _probe(backend, using):
            return result
        delivery = Delivery(
            backend,
            using,
            batch_size=settings.BATCH_SIZE,
            concurrency=settings.CONCURRENCY,
            persistent=False,
        )
        result.reports = delivery.reports
        delivery.run(_pages(delivery, waiting, using, linger, ends))
    waits = [report.retry_in for report in delivery.reports.values() if report.retry_in is not None]
    if ends is not None and time.monotonic() >= ends:
        waits.append(0.0)
    result.again_in = min(waits, default=None)
    return result


def _probe(backend: BaseBackend, using: str) -> bool:
    """While the key is refused, only this asks, once a minute."""
    try:
        backend.authenticate()
    except DeliveryError as error:
        states.note_error(claims.EVERYWHERE, using, str(error))
        return False
    states.recovered(claims.EVERYWHERE, using)
    return True


def _pages(
    delivery: Delivery, mirrors: Sequence[Mirror], using: str, linger: float, ends: float | None
) -> Iterator[Page]:
    """A page of each mirror in turn, so that none waits for another's backlog, round after round.

    A last round takes nothing: what changed while its record was in flight was passed over by the flush that
    its own wake-up brought, so this one looks again.
    """
    usable = [mirror for mirror in mirrors if _usable(mirror, using)]
    claimed = True
    while claimed:
        claimed = False
        turns = deque((mirror, 0) for mirror in usable)
        while turns:
            if ends is not None and time.monotonic() >= ends:
                return
            mirror, after = turns.popleft()
            if delivery.stopped(mirror):
                continue
            claim = claims.claim(
                mirror,
                using,
                after=after,
                limit=settings.BATCH_SIZE * CLAIM_BATCHES,
                batch_size=settings.BATCH_SIZE,
                linger=linger,
            )
            if claim.after is not None:
                turns.append((mirror, claim.after))
            if claim.held:
                claimed = True
                outcome = Settlement(
                    rejected=[(item, f"{item.text!r} is no key of {mirror.label}") for item in claim.unreadable]
                )
                delivery.report(mirror).rejected += len(claim.unreadable)
                yield Page(mirror, using, claim.held, claim.marked, True, outcome=outcome, failures=claim.failures)
        delivery.drain()


def _usable(mirror: Mirror, using: str) -> bool:
    try:
        return bool(mirror.plan)
    except ImproperlyConfigured as error:
        logger.error("%s is not delivered: %s", mirror.label, error)
        states.note_error(mirror.label, using, str(error))
        return False
