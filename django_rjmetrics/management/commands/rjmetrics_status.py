"""manage.py rjmetrics_status: how each mirror is doing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from ...backends import get_backend
from ...conf import settings
from ...exceptions import DeliveryError
from ...pending import states
from ...pending.claims import databases
from ...registry import registry
from ..options import NO_MIRRORS, OneLineCommand, number, plain_errors, refuse_bad_settings


class Command(OneLineCommand):
    help = "Shows how each mirror is doing: what is pending, in flight and rejected, and the last error."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--max-lag",
            type=number(float, 0),
            metavar="SECONDS",
            help="exit 1 if anything has been pending for longer",
        )
        parser.add_argument("--online", action="store_true", help="ask the API whether the credentials are valid")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the status."""
        rows = []
        with plain_errors():
            for using in databases():
                rows += [states.status(mirror, using) for mirror in registry]
        credentials = self.check_credentials() if options["online"] else None
        most = options["max_lag"]
        late = [row for row in rows if most is not None and (row.oldest_pending or 0.0) > most]
        if options["format"] == "json":
            result: dict[str, Any] = {"mirrors": [dataclasses.asdict(row) for row in rows]}
            if options["online"]:
                result["credentials"] = credentials or "valid"
            self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder))
        else:
            self.print_table(rows)
            if options["online"]:
                self.stdout.write(f"Credentials: {credentials or 'valid'}")
        if late:
            names = ", ".join(f"{row.table} ({row.oldest_pending:.0f} s)" for row in late)
            raise CommandError(f"Pending for longer than {most:g} s: {names}.", returncode=1)
        if credentials:
            raise CommandError("The credentials could not be confirmed.", returncode=1)

    def check_credentials(self) -> str | None:
        """What is wrong with the credentials, or None."""
        refuse_bad_settings()
        with plain_errors(), get_backend() as backend:
            try:
                backend.authenticate()
            except DeliveryError as error:
                return str(error)
        return None

    def print_table(self, rows: list[states.Status]) -> None:
        """A table, then a line for each error to tell."""
        if not rows:
            self.stdout.write(NO_MIRRORS)
            return
        several = len({row.database for row in rows}) > 1
        head = ["table", "pending", "oldest", "in flight", "rejected", "last success", "backing off"]
        lines = [head, *(_cells(row, with_database=several) for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for table, *cells in lines:
            padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
            self.stdout.write("  ".join([table.ljust(widths[0]), *padded]))
        errors: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            if row.last_error:
                errors.setdefault((_local(row.last_error_at), row.last_error), []).append(row.table)
        for (when, error), tables in errors.items():
            self.stdout.write(f"Last error of {', '.join(dict.fromkeys(tables))}, {when}: {error}")
        if not settings.ENABLED:
            self.stdout.write('RJMETRICS["ENABLED"] is False: nothing is marked, nothing is sent.')


def _cells(row: states.Status, *, with_database: bool) -> list[str]:
    waits = [*(["paused"] if row.paused else []), *([_span(row.backing_off)] if row.backing_off else [])]
    return [
        f"{row.table} @ {row.database}" if with_database else row.table,
        f"{row.pending:,}",
        "-" if row.oldest_pending is None else _span(row.oldest_pending),
        f"{row.in_flight:,}",
        f"{row.rejected:,}",
        _local(row.last_success),
        ", ".join(waits) or "-",
    ]


def _local(when: dt.datetime | None) -> str:
    if when is None:
        return "-"
    return f"{timezone.localtime(when) if timezone.is_aware(when) else when:%Y-%m-%d %H:%M:%S}"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"
