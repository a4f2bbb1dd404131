"""manage.py rjmetrics_backfill: sends every row of the named mirrors, or of all."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.management.base import CommandError, CommandParser
from django.db import router
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ...backends import BaseBackend, get_backend, http
from ...backfill import DryRun, Scope, backfill, dry_run
from ...conf import settings
from ...delivery import Report
from ...exceptions import DeliveryError
from ...flush import flush
from ...mirror import Mirror
from ...pending import states
from ..options import (
    OneLineCommand,
    counted,
    database_named,
    mirrors_named,
    number,
    plain_errors,
    refuse_bad_settings,
    refuse_inactive,
    usage_error,
)
from ..progress import Progress

# How many reasons for rejections the text shows.
REASONS = 10


@dataclasses.dataclass
class Result:
    """One mirror's line of the summary."""

    mirror: str
    table: str
    database: str
    rows: int = 0
    sent: int = 0
    rejected: int = 0
    pending: int = 0
    requests: int = 0
    seconds: float = 0.0
    error: str = ""
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    sample: list[str] = dataclasses.field(default_factory=list)

    @property
    def incomplete(self) -> str:
        """What was rejected, left pending or never reached; "" for nothing."""
        left = [
            f"{self.rejected:,} rejected" if self.rejected else "",
            f"{self.pending:,} left pending" if self.pending else "",
            self.error.rstrip("."),
        ]
        return f"{self.table}: {', '.join(filter(None, left))}" if any(left) else ""


def moment(text: str) -> dt.datetime:
    """An argparse type: a date or date-time, in TIME_ZONE unless it says otherwise."""
    try:
        value = parse_datetime(text)
        if value is None and (day := parse_date(text)):
            value = dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - made aware below
        if value is not None and timezone.is_naive(value):
            value = timezone.make_aware(value)
        # As the database wants it; both ways show that it is in the calendar's range.
        if value is not None:
            value = value.astimezone(dt.timezone.utc) if django_settings.USE_TZ else timezone.make_naive(value)
    except (ValueError, OverflowError):
        value = None
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or date-time such as 2026-03-01 or 2026-03-01T12:30:00+00:00"
        )
    return value


class Command(OneLineCommand):
    help = "Sends every row of the named mirrors to the warehouse, or of all mirrors."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("mirrors", nargs="*", metavar="MIRROR", help="app_label.Model or remote table")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--sandbox", action="store_true", help="send to the sandbox, which stores nothing")
        how.add_argument("--dry-run", action="store_true", help="send nothing: serialise, check, show a sample")
        parser.add_argument(
            "--since",
            type=moment,
            metavar="DATETIME",
            help="only rows modified then or later (see Mirror.modified)",
        )
        parser.add_argument("--limit", type=number(int, 1), metavar="N", help="at most N rows of each mirror")
        parser.add_argument("--batch-size", type=number(int, 1, 100), metavar="N", help="data points a request")
        parser.add_argument("--concurrency", type=number(int, 1, 64), metavar="N", help="requests at a time")
        parser.add_argument(
            "--database", metavar="ALIAS", help="read from it; default: where the model is written"
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument("--no-progress", action="store_true", help="show no bar and no progress lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Backfill each mirror, one after another."""
        refuse_bad_settings()
        if not options["dry_run"]:
            refuse_inactive()
        mirrors = mirrors_named(options["mirrors"])
        if options["since"]:
            for mirror in mirrors:
                if mirror.modified is None:
                    raise usage_error(
                        f"--since: {type(mirror).__name__} ({mirror.label}) does not say which field to compare. "
                        'Set modified = "..." in it, or name other mirrors.'
                    )
        if options["database"]:
            database_named(options["database"])
        results: list[Result] = []
        try:
            with plain_errors():
                self.run_all(mirrors, options, results)
        except KeyboardInterrupt:
            # Standard output stays as it is: a summary of half a run would be taken for one of a whole.
            raise CommandError(
                "Interrupted. Start it again to send the rest; what was sent already does no harm.", returncode=1
            ) from None
        if options["format"] == "json":
            fields = [dataclasses.asdict(result) for result in results]
            self.stdout.write(json.dumps({"mode": _mode(options), "mirrors": fields}))
        if incomplete := "; ".join(filter(None, (result.incomplete for result in results))):
            verb = "can be" if options["dry_run"] else "was"
            raise CommandError(f"Not everything {verb} sent. {incomplete}.", returncode=1)

    def run_all(self, mirrors: list[Mirror], options: dict[str, Any], results: list[Result]) -> None:
        """Run the mirrors through one backend; what stops one in a way that stops all ends it."""
        with ExitStack() as stack:
            backend = None
            if not options["dry_run"]:
                backend = stack.enter_context(get_backend(sandbox=options["sandbox"]))
            ended = False
            for mirror in mirrors:
                using = options["database"] or router.db_for_write(mirror.model)
                result = Result(mirror.label, mirror.table_name, using)
                results.append(result)
                if ended:
                    result.error = "not reached"
                    continue
                ended = self.run_one(result, mirror, backend, options)
                if options["format"] == "text":
                    self.print_result(result, options)

    def run_one(
        self, result: Result, mirror: Mirror, backend: BaseBackend | None, options: dict[str, Any]
    ) -> bool:
        """Backfill one mirror, with its progress shown; returns whether the others need not be tried."""
        using = result.database
        scope = Scope(since=options["since"], limit=options["limit"])
        result.rows = scope.count(mirror, using)
        started = time.monotonic()
        error: DeliveryError | None = None
        with ExitStack() as stack:
            advance: Callable[[int], None] = lambda rows: None  # noqa: E731
            if not options["no_progress"]:
                if options["format"] == "text":
                    self.stdout.write(
                        f"{counted(result.rows, 'row')} of {mirror.label}, {_destination(mirror, backend)}"
                    )
                progress = stack.enter_context(Progress(mirror.table_name, result.rows, self.stderr))
                advance = progress.advance
            if backend is None:
                self.take_dry_run(result, dry_run(mirror, using, scope=scope, on_progress=advance))
            else:
                report = backfill(
                    mirror,
                    using,
                    backend,
                    scope=scope,
                    batch_size=options["batch_size"] or settings.BATCH_SIZE,
                    concurrency=options["concurrency"] or settings.CONCURRENCY,
                    leased=not backend.sandbox,
                    on_progress=advance,
                )
                error = report.error
                self.take_report(result, report, mirror, using, backend)
        result.seconds = round(time.monotonic() - started, 3)
        return error is not None and (error.everywhere or error.ambiguous)

    def take_dry_run(self, result: Result, found: DryRun) -> None:
        """Copy a dry run's findings into the summary."""
        result.rejected, result.reasons, result.sample = found.rejected, found.reasons, found.sample
        result.rows = found.sendable + found.rejected

    def take_report(
        self, result: Result, report: Report, mirror: Mirror, using: str, backend: BaseBackend
    ) -> None:
        """Copy a run's report into the summary; see that rows which were in flight elsewhere go too."""
        result.sent, result.rejected, result.requests = report.sent, report.rejected, report.requests
        result.reasons = report.reasons
        if report.error:
            result.error = f"stopped after {report.sent:,} of {counted(result.rows, 'row')}: {report.error}"
        if report.skipped and not report.error and not backend.sandbox:
            flush([mirror], using)
            result.pending = states.status(mirror, using).pending

    def print_result(self, result: Result, options: dict[str, Any]) -> None:
        """The summary's lines of one mirror."""
        if options["dry_run"]:
            done = f"{result.rows - result.rejected:,} of {counted(result.rows, 'row')} can be sent"
        else:
            where = " to the sandbox, which stores nothing," if _mode(options) == "sandbox" else ""
            rate = result.sent / result.seconds if result.seconds else 0.0
            done = f"{counted(result.sent, 'row')} sent{where} in {counted(result.requests, 'request')}"
            done += f", {result.seconds:.1f} s, {rate:,.0f} rows/s"
        self.stdout.write(f"{result.table}: {done}; {result.rejected:,} rejected")
        if result.sample:
            self.stdout.write("The first data points:" if len(result.sample) > 1 else "The first data point:")
        for point in result.sample:
            self.stdout.write(f"  {point}")
        reasons = sorted(result.reasons.items(), key=lambda item: -item[1])
        for reason, count in reasons[:REASONS]:
            self.stdout.write(f"  {count:,} rejected: {reason}")
        if len(reasons) > REASONS:
            self.stdout.write(
                f"  and {counted(len(reasons) - REASONS, 'other reason')}; --format json has them all"
            )


def _mode(options: dict[str, Any]) -> str:
    if options["dry_run"]:
        return "dry-run"
    return "sandbox" if options["sandbox"] or settings.SANDBOX else "production"


def _destination(mirror: Mirror, backend: BaseBackend | None) -> str:
    if backend is None:
        return "checked but not sent"
    place = type(backend).__module__
    if isinstance(backend, http.Backend):
        place = urlsplit(settings.SANDBOX_URL if backend.sandbox else settings.API_URL).netloc
    return f"to the table {mirror.table_name} at {place}{', the sandbox' if backend.sandbox else ''}"
