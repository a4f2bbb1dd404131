"""manage.py rjmetrics_status: how each mirror is doing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from django.utils import timezone

from ...backends import get_backend
from ...exceptions import DeliveryError
from ...pending import states
from ...pending.claims import databases
from ...registry import registry
from ..options import usage_error


class Command(BaseCommand):
    help = "Shows how each mirror is doing: what is pending, in flight and rejected, and the last error."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--max-lag", type=float, metavar="SECONDS", help="exit 1 when something has been pending for longer"
        )
        parser.add_argument("--online", action="store_true", help="ask the API whether the credentials are valid")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the status."""
        rows = []
        for using in databases():
            try:
                rows += [states.status(mirror, using) for mirror in registry]
            except DatabaseError as error:
                raise CommandError(
                    f"The tables of django_rjmetrics can't be read in {using!r}: {str(error).splitlines()[0]}. "
                    "Run: manage.py migrate django_rjmetrics.",
                    returncode=1,
                ) from None
        credentials = self.check_credentials() if options["online"] else None
        late = [
            row
            for row in rows
            if options["max_lag"] is not None and (row.oldest_pending or 0.0) > options["max_lag"]
        ]
        if options["format"] == "json":
            result = {"mirrors": [dataclasses.asdict(row) for row in rows]}
            if options["online"]:
                result["credentials"] = credentials or "valid"  # type: ignore[assignment]
            self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder))
        else:
            self.print_table(rows)
            if options["online"]:
                self.stdout.write(f"Credentials: {credentials or 'valid'}")
        if late:
            names = ", ".join(f"{row.table} ({row.oldest_pending:.0f} s)" for row in late)
            raise CommandError(f"Pending for longer than {options['max_lag']:g} s: {names}.", returncode=1)
        if credentials:
            raise CommandError("The credentials could not be confirmed.", returncode=1)

    def check_credentials(self) -> str | None:
        """What is wrong with the credentials, or None."""
        try:
            with get_backend() as backend:
                backend.authenticate()
        except ImproperlyConfigured as error:
            raise usage_error(str(error)) from None
        except DeliveryError as error:
            return str(error)
        return None

    def print_table(self, rows: list[states.Status]) -> None:
        """A table, then a line for each mirror that has an error to tell."""
        if not rows:
            self.stdout.write("No mirrors are registered: write a mirrors.py in one of your apps.")
            return
        head = ["table", "pending", "oldest", "in flight", "rejected", "last success", "backing off"]
        several = len({row.database for row in rows}) > 1
        lines = [head] + [
            [
                f"{row.table} @ {row.database}" if several else row.table,
                f"{row.pending:,}",
                "-" if row.oldest_pending is None else f"{row.oldest_pending:,.0f} s",
                f"{row.in_flight:,}",
                f"{row.rejected:,}",
                f"{timezone.localtime(row.last_success):%Y-%m-%d %H:%M:%S}"
                if row.last_success and timezone.is_aware(row.last_success)
                else str(row.last_success or "-")[:19],
                "-" if not row.backing_off else f"{row.backing_off:,.0f} s{' (paused)' if row.paused else ''}",
            ]
            for row in rows
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for line in lines:
            cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            self.stdout.write("  ".join(cells).rstrip())
        for message in dict.fromkeys(f"{row.table}: {row.last_error}" for row in rows if row.last_error):
            self.stdout.write(message)
