"""From a save to the warehouse's row: claims, batches, the http backend, the emulator."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from shop.models import Customer, Purchase

from django_rjmetrics import Mirror
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.exceptions import OpenTransaction
from django_rjmetrics.flush import flush as flush_mirrors
from django_rjmetrics.models import Lease, Mark, MirrorState, Rejection
from django_rjmetrics.pending import marks
from django_rjmetrics.registry import registry
from django_rjmetrics.testing import flush
from tests.library.models import Author, Code, Place


def customer(**values: Any) -> Customer:
    return Customer.objects.create(joined=dt.date(1997, 1, 1), **values)


def buy(who: Customer, dollars: str = "11.77", cds: int = 1) -> Purchase:
    return Purchase.objects.create(customer=who, date=dt.date(1997, 1, 2), cds=cds, dollars=Decimal(dollars))


def by_id(emulator: Emulator, table: str) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in emulator.rows(table)}


def resume() -> None:
    """Let back-offs and leases end, without waiting for them."""
    MirrorState.objects.update(resume_at=0)
    Lease.objects.update(expires_at=0)


def test_save_arrives_with_lookup_method_and_annotation(warehouse: Emulator) -> None:
    purchase = buy(customer(), dollars="1234.50", cds=3)
    flush()
    row = by_id(warehouse, "purchases")[purchase.pk]
    assert row.pop("updated_at")
    assert row == {
        "id": purchase.pk,
        "customer_id": purchase.customer_id,
        "customer_since": "1997-01-01",
        "date": "1997-01-02",
        "year": 1997,
        "cds": 3,
        "dollars": Decimal("1234.50"),
        "size": "few",
    }


def test_thousand_saves_of_one_row_are_one_data_point(warehouse: Emulator) -> None:
    purchase = buy(customer())
    for cds in range(1_000):
        purchase.cds = cds
        purchase.save()
    assert flush()["shop.Purchase"].requests == 1
    assert by_id(warehouse, "purchases")[purchase.pk]["cds"] == 999
    assert not Mark.objects.exists()


def test_many_saves_leave_in_full_batches(warehouse: Emulator) -> None:
    who = customer()
    with transaction.atomic():
        for _ in range(1_234):
            buy(who)
    report = flush()["shop.Purchase"]
    assert (report.sent, report.requests) == (1_234, 13)
    assert warehouse.tables()["purchases"] == 1_234


def test_batch_size_is_respected(warehouse: Emulator, settings: Any) -> None:
    settings.RJMETRICS["BATCH_SIZE"] = 7
    who = customer()
    for _ in range(20):
        buy(who)
    assert flush()["shop.Purchase"].requests == 3


def test_bodies_stay_under_the_limit(warehouse: Emulator, settings: Any, mirror: Callable[..., Mirror]) -> None:
    settings.RJMETRICS["MAX_BODY_BYTES"] = 2_000
    mirror(Code, fields=["code", "note"])
    for number in range(10):
        Code.objects.create(code=f"c{number}", number=number, note="x" * 600)
    Code.objects.create(code="huge", number=99, note="x" * 2_000)
    report = flush()["library.Code"]
    assert (report.sent, report.rejected, report.requests) == (10, 1, 4)
    assert "MAX_BODY_BYTES" in Rejection.objects.get().reason


def test_deleted_record_leaves_a_tombstone(warehouse: Emulator) -> None:
    purchase = buy(customer())
    flush()
    key = purchase.pk
    purchase.delete()
    flush()
    row = by_id(warehouse, "purchases")[key]
    assert set(row) == {"id", "deleted_at"}


def test_deleted_record_is_left_alone_with_ignore(warehouse: Emulator) -> None:
    who = customer()
    flush()
    who.delete()
    assert flush()["shop.Customer"].requests == 0
    assert len(warehouse.rows("customers")) == 1
    assert not Mark.objects.exists()


def test_record_out_of_scope_counts_as_deleted(warehouse: Emulator, mirror: Callable[..., Mirror]) -> None:
    class Named(Mirror):
        table = "named"
        fields = ["id", "name"]
        on_delete = "tombstone"

        def get_queryset(self) -> Any:
            return Author.objects.exclude(name="")

    mirror(Author, Named)
    author = Author.objects.create(name="a")
    flush()
    author.name = ""
    author.save()
    flush()
    assert set(warehouse.rows("named")[0]) == {"id", "deleted_at"}


def test_recreated_record_ends_as_the_new_row(warehouse: Emulator) -> None:
    purchase = buy(customer())
    key = purchase.pk
    purchase.delete()
    Purchase.objects.create(
        pk=key, customer=Customer.objects.get(), date=dt.date(1997, 1, 3), cds=9, dollars=Decimal(5)
    )
    flush()
    assert by_id(warehouse, "purchases")[key]["cds"] == 9


def test_tombstone_of_remote_keys_that_went_with_the_row(
    warehouse: Emulator, mirror: Callable[..., Mirror]
) -> None:
    mirror(Code, table="codes", fields=["number", "note"], keys=["number"], on_delete="tombstone")
    code = Code.objects.create(code="a", number=12)
    flush()
    code.delete()
    flush()
    row = warehouse.rows("codes")[0]
    assert row["number"] == 12
    assert set(row) == {"number", "deleted_at"}


def test_row_is_read_as_it_is_now(warehouse: Emulator) -> None:
    purchase = buy(customer(), cds=1)
    Purchase.objects.filter(pk=purchase.pk).update(cds=50)
    flush()
    assert by_id(warehouse, "purchases")[purchase.pk]["cds"] == 50


def test_flush_reads_a_page_in_one_query(warehouse: Emulator) -> None:
    from django.test.utils import CaptureQueriesContext

    who = customer()
    for _ in range(50):
        buy(who)
    with CaptureQueriesContext(connection) as queries:
        flush()
    table = connection.ops.quote_name(Purchase._meta.db_table)
    assert sum(f"FROM {table}" in query["sql"] for query in queries) == 1


def test_flush_refuses_an_open_transaction(warehouse: Emulator) -> None:
    with transaction.atomic(), pytest.raises(OpenTransaction, match="default"):
        flush()


def test_flush_refuses_a_transaction_committed_by_hand(warehouse: Emulator) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(OpenTransaction):
            flush()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_unavailable_api_leaves_all_pending_and_backs_off(warehouse: Emulator) -> None:
    buy(customer())
    warehouse.set_faults({"status": 503, "retry_after": 30})
    reports = flush()
    assert reports["shop.Customer"].error or reports["shop.Purchase"].error
    assert Mark.objects.count() == 2
    assert not Lease.objects.exists()
    before = warehouse.stats()["requests"]
    assert flush() == {}
    assert warehouse.stats()["requests"] == before
    warehouse.set_faults([])
    resume()
    flush()
    assert warehouse.tables() == {"customers": 1, "purchases": 1}
    assert MirrorState.objects.get(mirror="*").failures == 0


def test_server_error_of_one_table_leaves_the_others_going(warehouse: Emulator) -> None:
    buy(customer())
    warehouse.set_faults({"status": 500, "table": "customers"})
    flush()
    assert warehouse.tables() == {"purchases": 1}
    assert list(Mark.objects.values_list("mirror", flat=True)) == ["shop.Customer"]


def test_ambiguous_outcome_keeps_the_lease_to_its_end(warehouse: Emulator) -> None:
    customer()
    warehouse.set_faults({"reset": "after", "times": 1})
    flush()
    MirrorState.objects.update(resume_at=0)
    assert warehouse.stats()["requests"] == 1
    flush()
    assert warehouse.stats()["requests"] == 1
    resume()
    flush()
    assert warehouse.stats()["requests"] == 2
    assert not Mark.objects.exists()


def test_closed_port_is_reported_without_a_traceback(warehouse: Emulator, settings: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        settings.RJMETRICS["API_URL"] = f"http://127.0.0.1:{bound.getsockname()[1]}/v2"
        customer()
        assert "can't be reached" in str(flush()["shop.Customer"].error)
    assert Mark.objects.count() == 1


def test_refused_key_pauses_all_and_one_probe_ends_it(warehouse: Emulator, settings: Any) -> None:
    right = settings.RJMETRICS["API_KEY"]
    settings.RJMETRICS["API_KEY"] = "wrong"
    buy(customer())
    flush()
    requests = warehouse.stats()["requests"]
    assert MirrorState.objects.get(mirror="*").paused
    assert flush() == {}
    MirrorState.objects.filter(mirror="*").update(resume_at=1)
    flush()
    assert warehouse.stats()["requests"] == requests
    assert MirrorState.objects.get(mirror="*").paused
    settings.RJMETRICS["API_KEY"] = right
    MirrorState.objects.filter(mirror="*").update(resume_at=1)
    flush()
    assert warehouse.tables() == {"customers": 1, "purchases": 1}
    assert not MirrorState.objects.get(mirror="*").paused


def test_poison_record_costs_itself_alone(warehouse: Emulator, mirror: Callable[..., Mirror]) -> None:
    mirror(Code, table="codes", fields=["code", "note"])
    for number in range(100):
        Code.objects.create(code=f"c{number}", number=number, note="poison" if number in {3, 77} else "")
    warehouse.set_faults({"status": 400, "contains": "poison"})
    report = flush()["library.Code"]
    assert (report.sent, report.rejected) == (98, 2)
    assert sorted(Rejection.objects.values_list("key", flat=True)) == ["c3", "c77"]
    assert warehouse.tables() == {"codes": 98}
    assert not Mark.objects.exists()


def test_rejected_record_goes_again_after_a_new_save(warehouse: Emulator, mirror: Callable[..., Mirror]) -> None:
    mirror(Code, table="codes", fields=["code", "note"])
    code = Code.objects.create(code="c", number=1, note="poison")
    warehouse.set_faults({"status": 400, "contains": "poison"})
    flush()
    code.note = "cured"
    code.save()
    flush()
    assert warehouse.tables() == {"codes": 1}
    assert not Rejection.objects.exists()


def test_method_that_raises_rejects_its_own_record(warehouse: Emulator, mirror: Callable[..., Mirror]) -> None:
    class Picky(Mirror):
        table = "codes"
        fields = ["code", "half"]

        def half(self, code: Code) -> int:
            if code.number % 2:
                raise ValueError("odd")
            return code.number // 2

    mirror(Code, Picky)
    Code.objects.create(code="good", number=2)
    Code.objects.create(code="bad", number=3)
    flush()
    assert [row["code"] for row in warehouse.rows("codes")] == ["good"]
    assert "ValueError: odd" in Rejection.objects.get(key="bad").reason


def test_unreadable_key_is_rejected(warehouse: Emulator) -> None:
    marks.append("default", [("shop.Customer", "nonsense", None)])
    flush()
    assert Rejection.objects.get().key == "nonsense"
    assert not Mark.objects.exists()


def test_queryset_that_raises_holds_up_its_own_mirror_alone(
    warehouse: Emulator, mirror: Callable[..., Mirror], caplog: pytest.LogCaptureFixture
) -> None:
    class Moody(Mirror):
        fields = ["name"]
        mood = "good"

        def get_queryset(self) -> Any:
            if self.mood == "bad":
                raise ValueError("not today")
            return Place.objects.all()

    moody: Any = mirror(Place, Moody)
    assert moody.plan
    moody.mood = "bad"
    Place.objects.create(name="a")
    customer()
    reports = flush()
    assert "not today" in str(reports["library.Place"].error)
    assert warehouse.tables() == {"customers": 1}
    assert Mark.objects.count() == 1
    assert not Lease.objects.exists()


def test_misdeclared_mirror_is_left_pending_and_said(
    warehouse: Emulator, mirror: Callable[..., Mirror], caplog: pytest.LogCaptureFixture
) -> None:
    mirror(Code, fields=["no_such_field"])
    Code.objects.create(code="a", number=1)
    customer()
    flush()
    assert warehouse.tables() == {"customers": 1}
    assert Mark.objects.count() == 1
    assert "no_such_field" in MirrorState.objects.get(mirror="library.Code").last_error


def test_change_while_its_record_is_in_flight_is_sent_by_the_same_flush(
    warehouse: Emulator, mirror: Callable[..., Mirror]
) -> None:
    class Busy(Mirror):
        table = "codes"
        fields = ["code", "count"]
        seen = 0

        def count(self, code: Code) -> int:
            self.seen += 1
            if self.seen == 1:
                code.save()
            return self.seen

    mirror(Code, Busy)
    Code.objects.create(code="a", number=1)
    flush()
    assert warehouse.rows("codes")[0]["count"] == 2
    assert not Mark.objects.exists()


def test_flush_gives_way_when_its_time_is_up(warehouse: Emulator) -> None:
    customer()
    result = flush_mirrors(list(registry), "default", seconds=0)
    assert result.again_in == 0
    assert Mark.objects.count() == 1


def test_lease_is_renewed_before_a_post_that_it_would_not_outlast(
    warehouse: Emulator, monkeypatch: pytest.MonkeyPatch, mirror: Callable[..., Mirror]
) -> None:
    """A method that is slow by the clock: the lease is nearly over when the page has been read."""
    late = 0.0
    monotonic = time.monotonic

    class Slow(Mirror):
        table = "codes"
        fields = ["code", "slow"]

        def slow(self, code: Code) -> int:
            nonlocal late
            late += 25
            Lease.objects.update(expires_at=1)
            return 1

    mirror(Code, Slow)
    monkeypatch.setattr("django_rjmetrics.delivery.time.monotonic", lambda: monotonic() + late)
    Code.objects.create(code="a", number=1)
    flush()
    assert warehouse.tables() == {"codes": 1}
    assert not Mark.objects.exists()


def test_page_whose_lease_is_lost_is_not_sent(
    warehouse: Emulator, monkeypatch: pytest.MonkeyPatch, mirror: Callable[..., Mirror]
) -> None:
    late = 0.0
    monotonic = time.monotonic

    class Robbed(Mirror):
        table = "codes"
        fields = ["code", "slow"]

        def slow(self, code: Code) -> int:
            nonlocal late
            late += 25
            Lease.objects.all().delete()
            return 1

    mirror(Code, Robbed)
    monkeypatch.setattr("django_rjmetrics.delivery.time.monotonic", lambda: monotonic() + late)
    Code.objects.create(code="a", number=1)
    flush_mirrors([registry.get("codes")], "default", seconds=20)  # type: ignore[list-item]
    assert warehouse.tables() == {}
    assert Mark.objects.exists()
