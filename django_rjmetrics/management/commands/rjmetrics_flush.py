"""manage.py rjmetrics_flush: sends what is pending now, in this process."""

from __future__ import annotations

import time
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from ...conf import settings
from ...exceptions import OpenTransaction
from ...flush import Flush, flush
from ...mirror import Mirror
from ...pending import states
from ...pending.claims import databases
from ..options import database_named, mirrors_named, refuse_inactive, usage_error


class Command(BaseCommand):
    help = "Sends what is pending to the warehouse now, in this process."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--watch", action="store_true", help="keep going until interrupted: a worker")
        parser.add_argument("--database", metavar="ALIAS", help="only this database; default: all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Flush once, or keep flushing."""
        refuse_inactive()
        mirrors = mirrors_named([])
        aliases = [database_named(options["database"])] if options["database"] else databases()
        try:
            if options["watch"]:
                self.watch(mirrors, aliases)
            else:
                self.flush_once(mirrors, aliases)
        except (ImproperlyConfigured, OpenTransaction) as error:
            raise usage_error(str(error)) from None

    def flush_once(self, mirrors: list[Mirror], aliases: list[str]) -> None:
        """Send all that is pending; exit code 1 where something was rejected or left."""
        left = rejected = 0
        for using in aliases:
            result = flush(mirrors, using)
            rejected += sum(report.rejected for report in result.reports.values())
            self.print_result(result)
            for mirror in mirrors:
                status = states.status(mirror, using)
                left += status.pending
                if status.pending:
                    why = status.last_error or "in flight elsewhere, or changed meanwhile"
                    self.stderr.write(f"{mirror.table_name}: {status.pending} left pending: {why}")
        if left or rejected:
            raise CommandError(f"{rejected} rejected, {left} left pending.", returncode=1)
        self.stdout.write("Nothing is pending.")

    def watch(self, mirrors: list[Mirror], aliases: list[str]) -> None:
        """Look for something due each LINGER, until Ctrl-C."""
        self.stdout.write("Watching for changes; Ctrl-C ends it.")
        try:
            while True:
                for using in aliases:
                    try:
                        self.print_result(flush(mirrors, using, linger=settings.LINGER))
                    except DatabaseError as error:
                        self.stderr.write(f"The database {using!r} failed: {str(error).splitlines()[0]}")
                close_old_connections()
                time.sleep(max(settings.LINGER, 0.05))
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def print_result(self, result: Flush) -> None:
        """A line for each mirror that something was done for."""
        for label, report in result.reports.items():
            if report.sent or report.rejected:
                self.stdout.write(
                    f"{label}: {report.sent} sent in {report.requests} requests, {report.rejected} rejected"
                )
            for reason, count in report.reasons.items():
                self.stderr.write(f"{label}: {count} rejected: {reason}")
            if report.error:
                self.stderr.write(f"{label}: {report.error}")
