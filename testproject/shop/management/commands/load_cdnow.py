"""Loads purchases of the CDNOW data set into the shop."""

import csv
import datetime as dt
from decimal import Decimal
from pathlib import Path

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from shop.models import Customer, Purchase

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "cdnow_sample.csv"


class Command(BaseCommand):
    help = "Replaces what the shop holds by the purchases of a CDNOW file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=SAMPLE, help="default: the 1-in-10 sample")

    def handle(self, *args: object, **options: Path) -> None:
        with options["file"].open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        joined: dict[int, dt.date] = {}
        for row in rows:
            customer, date = int(row["customer_id"]), dt.date.fromisoformat(row["date"])
            joined[customer] = min(date, joined.get(customer, date))
        with transaction.atomic():
            Purchase.objects.all().delete()
            Customer.objects.all().delete()
            Customer.objects.bulk_create(
                (Customer(pk=number, joined=date) for number, date in joined.items()), batch_size=1000
            )
            Purchase.objects.bulk_create(
                (
                    Purchase(
                        customer_id=int(row["customer_id"]),
                        date=dt.date.fromisoformat(row["date"]),
                        cds=int(row["cds"]),
                        dollars=Decimal(row["dollars"]),
                    )
                    for row in rows
                ),
                batch_size=1000,
            )
        self.stdout.write(f"{len(joined):,} customers, {len(rows):,} purchases loaded.")
