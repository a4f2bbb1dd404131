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

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, router
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ...backends import BaseBackend, get_backend
from ...backfill import DryRun, Scope, backfill, dry_run
from ...conf import settings
from ...delivery import Report
from ...exceptions import OpenTransaction
from ...flush import flush
from ...mirror import Mirror
from ...pending import states
from ..options import database_named, mirrors_named, refuse_inactive, usage_error
from ..progress import Progress


@dataclasses.dataclass
class Result:
    """One mirror's line of the summary."""

    mirror: str
    table: str
    database: str
    rows: int
    sent: int = 0
    rejected: int = 0
    pending: int = 0
    requests: int = 0
    seconds: float = 0.0
    error: str = ""
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    sample: list[str] = dataclasses.field(default_factory=list)

    @property
    def incomplete(self) -> bool:
        """Whether something was rejected, left pending or never reached."""
        return bool(self.rejected or self.pending or self.error)


def whole_number(smallest: int, largest: int | None = None) -> Callable[[str], int]:
    """An argparse type: an integer within bounds."""
    bounds = f"of {smallest} or more" if largest is None else f"from {smallest} to {largest}"

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = smallest - 1
        if number < smallest or (largest is not None and number > largest):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bounds}")
        return number

    return parse


def moment(text: str) -> dt.datetime:
    """An argparse type: a date or date-time, in TIME_ZONE unless it says otherwise."""
    try:
        value = parse_datetime(text)
        if value is None and (day := parse_date(text)):
            value = dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - made aware below
    except ValueError:
        value = None
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or date-time such as 2026-03-01 or 2026-03-01T12:30:00+00:00"
        )
    return timezone.make_aware(value) if timezone.is_naive(value) else value


class Command(BaseCommand):
    help = "Sends every row of the named mirrors to the warehouse, or of all mirrors."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("mirrors", nargs="*", metavar="MIRROR", help="app_label.Model or remote table")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--sandbox", action="store_true", help="send to the sandbox, which stores nothing")
        how.add_argument("--dry-run", action="store_true", help="send nothing: serialise, check, show a sample")
        parser.add_argument(
            "--since", type=moment, metavar="DATETIME", help="only rows modified then or later (see Mirror.modified)"
        )
        parser.add_argument("--limit", type=whole_number(1), metavar="N", help="at most N rows of each mirror")
        parser.add_argument("--batch-size", type=whole_number(1, 100), metavar="N", help="data points a request")
        parser.add_argument("--concurrency", type=whole_number(1, 64), metavar="N", help="requests at a time")
        parser.add_argument("--database", metavar="ALIAS", help="read from it; default: where the model is written")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument("--no-progress", action="store_true", help="show no bar and no progress lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Backfill each mirror, one after another."""
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
        try:
            results = self.run_all(mirrors, options)
        except (ImproperlyConfigured, OpenTransaction) as error:
            raise usage_error(str(error)) from None
        except DatabaseError as error:
            raise CommandError(
                f"The database failed: {str(error).splitlines()[0]}. Are all migrations applied?", returncode=1
            ) from error
        if options["format"] == "json":
            fields = [dataclasses.asdict(result) for result in results]
            self.stdout.write(json.dumps({"mode": _mode(options), "mirrors": fields}))
        incomplete = [result for result in results if result.incomplete]
        if incomplete:
            names = ", ".join(
                f"{result.table}: {result.rejected:,} rejected, {result.pending:,} left pending"
                + (f", stopped: {result.error}" if result.error else "")
                for result in incomplete
            )
            raise CommandError(f"Not everything was sent. {names}", returncode=1)

    def run_all(self, mirrors: list[Mirror], options: dict[str, Any]) -> list[Result]:
        """Run the mirrors through one backend; stop at the first that the API's trouble stopped."""
        results = []
        with ExitStack() as stack:
            backend = None
            if not options["dry_run"]:
                backend = stack.enter_context(get_backend(sandbox=options["sandbox"]))
            for mirror in mirrors:
                using = options["database"] or router.db_for_write(mirror.model)
                result = self.run_one(mirror, using, backend, options)
                results.append(result)
                if options["format"] == "text":
                    self.print_result(result, options)
                if result.error:
                    break
        return results

    def run_one(
        self, mirror: Mirror, using: str, backend: BaseBackend | None, options: dict[str, Any]
    ) -> Result:
        """Backfill one mirror, with its progress shown."""
        scope = Scope(since=options["since"], limit=options["limit"])
        total = scope.count(mirror, using)
        result = Result(mirror.label, mirror.table_name, using, rows=total)
        started = time.monotonic()
        with ExitStack() as stack:
            advance: Callable[[int], None] = lambda rows: None  # noqa: E731
            if not options["no_progress"]:
                if options["format"] == "text":
                    self.stdout.write(f"{mirror.label}: about {total:,} rows to {_destination(mirror, backend)}")
                progress = stack.enter_context(Progress(mirror.table_name, total, self.stderr._out))
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
                self.take_report(result, report, mirror, using, backend)
        result.seconds = round(time.monotonic() - started, 3)
        return result

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
        result.error = str(report.error) if report.error else ""
        if report.skipped and not report.error and not backend.sandbox:
            flush([mirror], using)
            result.pending = states.status(mirror, using).pending

    def print_result(self, result: Result, options: dict[str, Any]) -> None:
        """The summary's lines of one mirror."""
        rate = result.sent / result.seconds if result.seconds else 0.0
        if options["dry_run"]:
            done = f"{result.rows - result.rejected:,} of {result.rows:,} rows can be sent; nothing was"
        else:
            where = " to the sandbox, which stores nothing" if options["sandbox"] or settings.SANDBOX else ""
            done = f"{result.sent:,} rows sent{where} in {result.requests:,} requests"
            done += f", {result.seconds:.1f} s, {rate:,.0f} rows/s"
        self.stdout.write(f"{result.table}: {done}; {result.rejected:,} rejected")
        for point in result.sample:
            self.stdout.write(f"  {point}")
        for reason, count in sorted(result.reasons.items(), key=lambda item: -item[1])[:10]:
            self.stdout.write(f"  {count:,} rejected: {reason}")


def _mode(options: dict[str, Any]) -> str:
    if options["dry_run"]:
        return "dry-run"
    return "sandbox" if options["sandbox"] or settings.SANDBOX else "production"


def _destination(mirror: Mirror, backend: BaseBackend | None) -> str:
    if backend is None:
        return "nowhere: a dry run"
    if type(backend).__module__ != "django_rjmetrics.backends.http":
        return f"the table {mirror.table_name} of {type(backend).__module__}"
    host = urlsplit(settings.SANDBOX_URL if backend.sandbox else settings.API_URL).netloc
    return f"the table {mirror.table_name} at {host}{' (the sandbox)' if backend.sandbox else ''}"
