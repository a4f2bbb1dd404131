"""The one engine: takes pages of keys, reads the rows as they are now, sends them in batches, settles.

The database is used by the calling thread alone; a small pool of threads only makes the backend's calls, outside
any transaction. A flush's pages are claims of pending keys, a backfill's come from the table.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from django.db import connections

from .backends import BaseBackend, Batch
from .conf import settings
from .exceptions import (
    AllRefused,
    Ambiguous,
    DeliveryError,
    OpenTransaction,
    ReadFailed,
    RecordError,
    Refused,
    ServerError,
)
from .mirror import Mirror
from .pages import Page, Point, Shipment, pack
from .pending import claims, states
from .pending.claims import Marked
from .retry import retry_delay

logger = logging.getLogger("django_rjmetrics")

# Between the end of a call's deadline and the end of its lease.
MARGIN = 1.0
# Failures in a row after which a backfill gives a batch up: some minutes.
ATTEMPTS = 10
# Records refused one by one, and none taken, after which a mirror counts as refused altogether.
ALL_REFUSED = 10
# Failures in a row after which a 500 may be the batch's own, and 500s that convict a single record.
SUSPICIOUS = 2
CONFIRM = 4


@dataclass
class Report:
    """What a run came to, for one mirror.

    Attributes:
        sent: data points that the API took.
        rejected: records that can't be sent; ``reasons`` counts them by reason.
        skipped: rows of a backfill that were in flight elsewhere, and are pending instead.
        requests: calls made.
        error: what ended the run for the mirror, or None.
        retry_in: seconds that a failed mirror backs off for.
    """

    sent: int = 0
    rejected: int = 0
    skipped: int = 0
    requests: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    error: DeliveryError | None = None
    retry_in: float | None = None


def refuse_open_transaction(using: str) -> None:
    """Raises OpenTransaction if ``using`` has one: rows would be read as they were, and calls made inside it."""
    connection = connections[using]
    blocks = [block for block in connection.atomic_blocks if not block._from_testcase]  # type: ignore[attr-defined]
    if blocks or not (connection.in_atomic_block or connection.get_autocommit()):
        raise OpenTransaction(f"A transaction is open on {using!r}: flush and backfill run outside of any.")


class Delivery:
    """One run of the engine over one database.

    Attributes:
        reports: what came of each mirror, by label.
    """

    def __init__(
        self,
        backend: BaseBackend,
        using: str,
        *,
        batch_size: int,
        concurrency: int,
        persistent: bool,
        on_progress: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """``persistent`` runs wait and try again; others leave what failed pending, and the mirror backing off.

        ``on_progress`` is called with the number of records just dealt with.
        """
        self._backend = backend
        self._using = using
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._persistent = persistent
        self._on_progress = on_progress
        self._under_way: dict[Future[None], Shipment] = {}
        self._again: deque[Shipment] = deque()
        self._not_before = 0.0
        self.reports: dict[str, Report] = {}

    def report(self, mirror: Mirror) -> Report:
        """The mirror's report, made at the first call."""
        return self.reports.setdefault(mirror.label, Report())

    def stopped(self, mirror: Mirror) -> bool:
        """Whether an error ended this run for the mirror."""
        return any(
            report.error and (label == mirror.label or report.error.everywhere)
            for label, report in self.reports.items()
        )

    def run(self, pages: Iterable[Page]) -> None:
        """Send the pages; they are taken one after another, as there is room to send."""
        refuse_open_transaction(self._using)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="rjmetrics-send") as self._pool:
            try:
                for page in pages:
                    self._take(page)
                self.drain()
            except BaseException:
                for future in self._under_way:
                    future.cancel()
                raise

    def drain(self) -> None:
        """See everything that is under way to its end."""
        while self._under_way or self._again:
            self._make_room(self._concurrency)

    def _take(self, page: Page) -> None:
        try:
            for points in self._batches(page):
                self._make_room(1)
                if page.error or page.lost or self.stopped(page.mirror):
                    break
                page.under_way += 1
                self._start(Shipment(page, points))
        except Exception as error:
            logger.exception("Reading the rows of %s failed.", page.mirror.label)
            self._stop(page, ReadFailed(f"reading the rows failed: {type(error).__name__}: {error}"))
        page.read = True
        self._settle_if_done(page)

    def _batches(self, page: Page) -> Iterator[list[Point]]:
        sendable = self._sendable(page)
        return pack(sendable, self._batch_size, settings.MAX_BODY_BYTES)

    def _sendable(self, page: Page) -> Iterator[Point]:
        for item, point in page.points(settings.MAX_BODY_BYTES):
            if isinstance(point, RecordError):
                self._reject(page, item, str(point))
            else:
                yield item, point

    def _make_room(self, places: int) -> None:
        """Deal with what has ended, and start what is to be sent again, until so many places are free."""
        while True:
            while self._again and len(self._under_way) < self._concurrency:
                self._start(self._again.popleft())
            if len(self._under_way) + places <= self._concurrency:
                return
            done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
            for future in done:
                self._finish(self._under_way.pop(future), future)

    def _start(self, shipment: Shipment) -> None:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        page = shipment.page
        if page.held and time.monotonic() + settings.TIMEOUT + MARGIN > page.held.until:
            page.lost = page.lost or not claims.renew(page.held)
        if page.lost or page.error:
            page.under_way -= 1
            self._settle_if_done(page)
            return
        deadline = time.monotonic() + settings.TIMEOUT
        self.report(page.mirror).requests += 1
        batch = Batch([point for _, point in shipment.points], deadline)
        future = self._pool.submit(self._backend.upsert, page.mirror.table_name, batch)
        self._under_way[future] = shipment

    def _finish(self, shipment: Shipment, future: Future[None]) -> None:
        page = shipment.page
        items = [item for item, _ in shipment.points]
        page.under_way -= 1
        try:
            future.result()
        except Refused as error:
            if len(items) > 1:
                self._bisect(shipment)
            else:
                self._refused(page, items[0], error)
        except ServerError as error:
            self._follow(shipment, error)
        except DeliveryError as error:
            self._failed(shipment, error)
        except Exception as error:
            logger.exception("The backend failed on a batch of %s.", page.mirror.table_name)
            self._failed(shipment, Ambiguous(f"the backend raised {type(error).__name__}"))
        else:
            page.outcome.delivered += items
            self.report(page.mirror).sent += len(items)
            self._on_progress(len(items))
        self._settle_if_done(page)

    def _bisect(self, shipment: Shipment) -> None:
        # Depth first: the first culprit is known after a few requests, not after all of them.
        middle = len(shipment.points) // 2
        for half in (shipment.points[middle:], shipment.points[:middle]):
            shipment.page.under_way += 1
            self._again.appendleft(Shipment(shipment.page, half))

    def _refused(self, page: Page, item: Marked, error: DeliveryError) -> None:
        """One record was refused by itself; where all are, the mirror is at fault and they stay pending."""
        page.refused.append((item, str(error)))
        if len(page.refused) >= ALL_REFUSED and not self.report(page.mirror).sent:
            self._stop(page, AllRefused(f"every record is refused: {error}", status=error.status))

    def _follow(self, shipment: Shipment, error: ServerError) -> None:
        """A 500 is the server's trouble, unless it follows one batch around while others are taken."""
        page = shipment.page
        others_taken = self.report(page.mirror).sent > 0
        if others_taken or page.failures >= SUSPICIOUS or shipment.attempts >= SUSPICIOUS:
            if len(shipment.points) > 1:
                self._bisect(shipment)
                return
            if others_taken and shipment.attempts + 1 >= CONFIRM:
                self._reject(page, shipment.points[0][0], f"{error}, {CONFIRM} times, while others were taken")
                return
            if others_taken:
                self._send_later(shipment, error)
                return
        self._failed(shipment, error)

    def _failed(self, shipment: Shipment, error: DeliveryError) -> None:
        page = shipment.page
        items = [item for item, _ in shipment.points]
        if error.ambiguous:
            page.outcome.ambiguous.update((item.text, item) for item in items)
        if self._persistent and shipment.attempts + 1 < ATTEMPTS and not error.final:
            self._send_later(shipment, error)
        else:
            self._stop(page, error)

    def _send_later(self, shipment: Shipment, error: DeliveryError) -> None:
        shipment.attempts += 1
        delay = retry_delay(shipment.attempts, error.retry_after)
        self._not_before = max(self._not_before, time.monotonic() + delay)
        shipment.page.under_way += 1
        self._again.append(shipment)

    def _stop(self, page: Page, error: DeliveryError) -> None:
        page.error = error
        report = self.report(page.mirror)
        report.error = report.error or error

    def _reject(self, page: Page, item: Marked, reason: str) -> None:
        page.outcome.rejected.append((item, reason))
        report = self.report(page.mirror)
        report.rejected += 1
        report.reasons[reason] = report.reasons.get(reason, 0) + 1
        self._on_progress(1)

    def _settle_if_done(self, page: Page) -> None:
        if not page.read or page.under_way:
            return
        if not isinstance(page.error, AllRefused):
            for item, reason in page.refused:
                self._reject(page, item, reason)
        if page.held:
            claims.settle(page.mirror, page.held, page.marked.values(), page.outcome)
            if page.error:
                delay = states.back_off(page.mirror.label, page.using, page.error)
                if page.outcome.ambiguous:
                    delay = max(delay, page.held.until - time.monotonic())
                self.report(page.mirror).retry_in = delay
            elif page.outcome.delivered:
                states.recovered(page.mirror.label, page.using)
