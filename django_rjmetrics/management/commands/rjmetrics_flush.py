"""manage.py rjmetrics_flush: sends what is pending now, in this process."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from ...conf import settings
from ...delivery import Report
from ...flush import flush
from ...mirror import Mirror
from ...pending import states
from ...pending.claims import databases
from ..options import (
    OneLineCommand,
    counted,
    database_named,
    first_line,
    mirrors_named,
    plain_errors,
    refuse_bad_settings,
    refuse_inactive,
)

REPEAT_EVERY = 60.0


class Command(OneLineCommand):
    help = "Sends what is pending to the warehouse now, in this process."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        rejected = parser.add_mutually_exclusive_group()
        rejected.add_argument("--retry-rejected", action="store_true", help="send the rejected records again, too")
        rejected.add_argument("--discard-rejected", action="store_true", help="forget the rejected records first")
        parser.add_argument("--watch", action="store_true", help="keep going until interrupted: a worker")
        parser.add_argument("--database", metavar="ALIAS", help="only this database; default: all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Flush once, or keep flushing."""
        refuse_bad_settings()
        refuse_inactive()
        mirrors = mirrors_named([])
        aliases = [database_named(options["database"])] if options["database"] else databases()
        with plain_errors():
            if options["retry_rejected"] or options["discard_rejected"]:
                self.settle_rejected(mirrors, aliases, discard=options["discard_rejected"])
            if options["watch"]:
                self.watch(mirrors, aliases)
            else:
                self.flush_once(mirrors, aliases)

    def settle_rejected(self, mirrors: list[Mirror], aliases: list[str], *, discard: bool) -> None:
        """Discard the rejected records, or have them sent again."""
        settle = states.discard_rejected if discard else states.retry_rejected
        done = "discarded" if discard else "to be sent again"
        for using in aliases:
            for mirror in mirrors:
                if count := settle(mirror, using):
                    self.stdout.write(f"{mirror.table_name}: {counted(count, 'rejected record')} {done}")

    def flush_once(self, mirrors: list[Mirror], aliases: list[str]) -> None:
        """Send all that is pending; exit code 1 where something was rejected or left."""
        sent = left = rejected = 0
        for using in aliases:
            for mirror, report in self.flush(mirrors, using):
                sent += report.sent
                rejected += report.rejected
                self.print_report(mirror, report)
            for mirror in mirrors:
                status = states.status(mirror, using)
                left += status.pending
                if status.pending:
                    why = status.last_error or "in flight elsewhere, or changed meanwhile"
                    self.stderr.write(f"{mirror.table_name}: {status.pending:,} left pending: {why}")
        if left or rejected:
            raise CommandError(f"{rejected:,} rejected, {left:,} left pending.", returncode=1)
        self.stdout.write("Nothing is left pending." if sent else "Nothing was pending.")

    def watch(self, mirrors: list[Mirror], aliases: list[str]) -> None:
        """Look for something due each LINGER, until Ctrl-C or SIGTERM."""
        before = signal.getsignal(signal.SIGTERM)
        with suppress(ValueError):  # only the main thread may
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        told: dict[str, tuple[str, float]] = {}
        try:
            self.stdout.write("Watching for changes; Ctrl-C ends it.")
            while True:
                for using in aliases:
                    try:
                        for mirror, report in self.flush(mirrors, using, linger=settings.LINGER):
                            self.print_report(mirror, report)
                    except DatabaseError as error:
                        message = f"The database {using!r} failed: {first_line(error)}"
                        last, when = told.get(using, ("", 0.0))
                        if message != last or time.monotonic() - when >= REPEAT_EVERY:
                            told[using] = message, time.monotonic()
                            self.stderr.write(message)
                close_old_connections()
                time.sleep(max(settings.LINGER, 0.05))
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, before)

    def flush(self, mirrors: list[Mirror], using: str, *, linger: float = 0.0) -> list[tuple[Mirror, Report]]:
        """Flush one database; what came of each mirror that had something pending."""
        reports = flush(mirrors, using, linger=linger).reports
        return [(mirror, reports[mirror.label]) for mirror in mirrors if mirror.label in reports]

    def print_report(self, mirror: Mirror, report: Report) -> None:
        """A line for what was sent, and one for each reason why something wasn't."""
        table = mirror.table_name
        if report.sent or report.rejected:
            self.stdout.write(
                f"{table}: {counted(report.sent, 'row')} sent in {counted(report.requests, 'request')}; "
                f"{report.rejected:,} rejected"
            )
        for reason, count in report.reasons.items():
            self.stderr.write(f"{table}: {count:,} rejected: {reason}")
        if report.error:
            self.stderr.write(f"{table}: {report.error}")
