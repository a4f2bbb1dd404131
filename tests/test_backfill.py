"""Backfills: keyset pages through the engine, under leases, or to the sandbox without."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from shop.models import Customer

from django_rjmetrics import Mirror, ignore_changes, registry
from django_rjmetrics.backends import get_backend
from django_rjmetrics.backfill import Scope, backfill, dry_run
from django_rjmetrics.delivery import ATTEMPTS, Report
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.exceptions import OpenTransaction
from django_rjmetrics.models import Lease, Mark, Rejection
from django_rjmetrics.pending import claims, marks
from django_rjmetrics.testing import flush
from tests.library.models import Author, Code, Place, Slot, Token


@pytest.fixture
def codes(warehouse: Emulator, mirror: Callable[..., Mirror]) -> Mirror:
    return mirror(Code, table="codes", fields=["code", "number", "note"])


def make_codes(count: int) -> None:
    Code.objects.bulk_create([Code(code=f"c{number:05}", number=number) for number in range(count)])


def run(mirror: Mirror, *, sandbox: bool = False, scope: Scope | None = None, **given: Any) -> Report:
    options = {"batch_size": 10, "concurrency": 4, "leased": not sandbox, **given}
    with get_backend(sandbox=sandbox) as backend:
        return backfill(mirror, "default", backend, scope=scope or Scope(), **options)


def test_backfill_sends_every_row_once(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(523)
    report = run(codes)
    assert (report.sent, report.requests, report.rejected) == (523, 53, 0)
    keys = [arrival["key"] for arrival in warehouse.arrivals()]
    assert len(keys) == 523
    assert sorted(keys) == [[f"c{number:05}"] for number in range(523)]
    assert not Lease.objects.exists()
    assert not Mark.objects.exists()


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (Token, [{} for _ in range(57)]),
        (Slot, [{"room": room, "hour": hour} for room in ("a", "B", "c d") for hour in range(19)]),
        (Place, [{"name": str(number)} for number in range(57)]),
    ],
)
def test_backfill_walks_keys_of_any_kind(
    warehouse: Emulator, mirror: Callable[..., Mirror], model: Any, rows: list[dict[str, Any]]
) -> None:
    made = mirror(model, table="t", fields="__all__")
    with ignore_changes():
        for row in rows:
            model.objects.create(**row)
    assert run(made, batch_size=2).sent == 57
    assert warehouse.tables() == {"t": 57}


def test_backfill_reports_progress(codes: Mirror) -> None:
    make_codes(45)
    steps: list[int] = []
    run(codes, on_progress=steps.append)
    assert sum(steps) == 45


def test_backfill_costs_the_same_few_queries_a_page(codes: Mirror) -> None:
    def queries(count: int) -> int:
        make_codes(count)
        with CaptureQueriesContext(connection) as found:
            run(codes)
        Code.objects.all()._raw_delete("default")
        return len(found)

    queries(100)
    assert queries(500) - queries(400) == queries(300) - queries(200)


def test_backfill_asks_for_no_offset_and_no_count(codes: Mirror) -> None:
    make_codes(250)
    with CaptureQueriesContext(connection) as found:
        run(codes)
    statements = [query["sql"] for query in found if "library_code" in query["sql"]]
    assert statements
    assert not [sql for sql in statements if "OFFSET" in sql or "COUNT" in sql]


def test_limit_stops_within_a_page(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(150)
    assert run(codes, scope=Scope(limit=113)).sent == 113
    assert Scope(limit=113).count(codes, "default") == 113
    assert warehouse.tables() == {"codes": 113}


def test_since_sends_what_was_modified_then_or_later(warehouse: Emulator, mirror: Callable[..., Mirror]) -> None:
    places = mirror(Place, table="places", fields=["name"], modified="changed")
    old, new = (Place.objects.create(name=name) for name in ("old", "new"))
    when = timezone.now()
    Place.objects.filter(pk=old.pk).update(changed=when - dt.timedelta(seconds=5))
    Place.objects.filter(pk=new.pk).update(changed=when)
    assert run(places, scope=Scope(since=when)).sent == 1
    assert warehouse.rows("places")[0]["name"] == "new"


def test_sandbox_run_touches_no_mark_and_no_lease(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(25)
    Code.objects.first().save()
    before = list(Mark.objects.values())
    claimed = claims.claim(codes, "default", after=0, limit=10, batch_size=10, linger=0)
    assert claimed.held
    assert run(codes, sandbox=True).sent == 25
    assert warehouse.tables() == {}
    assert warehouse.stats()["sandbox"]["data_points"] == 25
    assert list(Mark.objects.values()) == before
    assert Lease.objects.count() == 1


def test_sandbox_run_reports_rejections_and_keeps_none(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(25)
    warehouse.set_faults({"status": 400, "contains": "c00007"})
    report = run(codes, sandbox=True)
    assert (report.sent, report.rejected) == (24, 1)
    assert not Rejection.objects.exists()


def test_rejected_row_is_kept_with_its_reason(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(25)
    warehouse.set_faults({"status": 400, "contains": "c00007"})
    report = run(codes)
    assert (report.sent, report.rejected) == (24, 1)
    assert list(report.reasons.values()) == [1]
    assert Rejection.objects.get().key == "c00007"


def test_row_in_flight_elsewhere_is_skipped_and_pending(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(25)
    marks.append("default", [("library.Code", "c00003", None)])
    claimed = claims.claim(codes, "default", after=0, limit=10, batch_size=10, linger=0)
    assert claimed.held
    report = run(codes)
    assert (report.sent, report.skipped) == (24, 1)
    Lease.objects.all().delete()
    flush()
    assert warehouse.tables() == {"codes": 25}


def test_failing_api_is_tried_again(codes: Mirror, warehouse: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    make_codes(95)
    warehouse.set_faults({"status": 503, "share": 0.5, "seed": 4})
    report = run(codes)
    assert (report.sent, report.error) == (95, None)
    assert report.requests > 10
    assert warehouse.tables() == {"codes": 95}


def test_dead_api_ends_the_run_after_some_attempts(
    codes: Mirror, warehouse: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    make_codes(500)
    warehouse.set_faults({"status": 503})
    report = run(codes)
    assert report.error
    assert report.sent == 0
    assert report.requests <= 4 * ATTEMPTS
    assert not Lease.objects.exists()


def test_refused_key_ends_the_run_at_once(codes: Mirror, warehouse: Emulator, settings: Any) -> None:
    make_codes(500)
    settings.RJMETRICS["API_KEY"] = "wrong"
    report = run(codes)
    assert "401" in str(report.error)
    assert report.requests <= 4


def test_record_retried_after_an_ambiguous_answer_stays_leased(
    codes: Mirror, warehouse: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request may be applied yet: nothing newer may be sent before its lease ends."""
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    make_codes(5)
    warehouse.set_faults({"reset": "after", "times": 1})
    report = run(codes)
    assert (report.sent, report.error) == (5, None)
    Code.objects.get(code="c00001").save()
    assert claims.claim(codes, "default", after=0, limit=10, batch_size=10, linger=0).held is None


def test_row_deleted_between_its_page_and_its_read_is_no_tombstone(
    warehouse: Emulator, mirror: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    authors = mirror(Author, table="authors", fields=["name"], on_delete="tombstone")
    with ignore_changes():
        gone = Author.objects.create(name="gone")
        Author.objects.create(name="stays")
    lease = claims.lease

    def delete_after_lease(*args: Any) -> Any:
        result = lease(*args)
        Author.objects.filter(pk=gone.pk)._raw_delete("default")
        return result

    monkeypatch.setattr(claims, "lease", delete_after_lease)
    assert run(authors).sent == 1
    assert len(warehouse.rows("authors")) == 1


def test_backfill_refuses_an_open_transaction(codes: Mirror) -> None:
    with transaction.atomic(), pytest.raises(OpenTransaction):
        run(codes)


def test_dry_run_sends_nothing_and_says_why_not(codes: Mirror, warehouse: Emulator) -> None:
    make_codes(5)
    found = dry_run(codes, "default", scope=Scope())
    assert (found.sendable, found.rejected, len(found.sample)) == (5, 0, 3)
    assert found.sample[0].startswith('{"keys":["code"]')
    assert warehouse.stats()["requests"] == warehouse.stats()["sandbox"]["requests"] == 0


def test_every_purchase_of_the_sample_arrives_to_the_cent(warehouse: Emulator) -> None:
    from decimal import Decimal

    from django.core.management import call_command
    from shop.models import Purchase

    with ignore_changes():
        call_command("load_cdnow", verbosity=0)
    for label in ("shop.Customer", "shop.Purchase"):
        found = registry.get(label)
        assert found
        run(found, batch_size=100)
    assert warehouse.tables() == {"customers": 2_357, "purchases": 6_919}
    dollars = sum(row["dollars"] for row in warehouse.rows("purchases"))
    assert dollars == sum(Purchase.objects.values_list("dollars", flat=True)) == Decimal("244091.94")
    assert Customer.objects.count() == 2_357
