"""One bad record costs one record, and one bad mirror is paused: the engine against the emulator's faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_rjmetrics import Mirror
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.models import Lease, Mark, MirrorState, Rejection
from django_rjmetrics.testing import flush
from tests.library.models import Code


@pytest.fixture
def codes(warehouse: Emulator, mirror: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror whose failures are tried again without a pause."""
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    return mirror(Code, table="codes", fields=["code", "note"])


def make(count: int, *poisoned: int) -> None:
    for number in range(count):
        Code.objects.create(code=f"c{number}", number=number, note="poison" if number in poisoned else "fine")


def state() -> MirrorState:
    return MirrorState.objects.get(mirror="library.Code")


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("poisoned", [(0,), (99,), (0, 1, 2, 50, 98, 99)], ids=str)
def test_refused_batch_is_bisected_to_the_culprits(
    codes: Mirror, warehouse: Emulator, status: int, poisoned: tuple[int, ...]
) -> None:
    make(100, *poisoned)
    warehouse.set_faults({"status": status, "contains": "poison"})
    report = flush()["library.Code"]
    assert (report.sent, report.rejected) == (100 - len(poisoned), len(poisoned))
    assert report.requests <= 1 + 2 * 7 * len(poisoned)
    assert set(Rejection.objects.values_list("key", flat=True)) == {f"c{number}" for number in poisoned}
    assert str(status) in Rejection.objects.first().reason
    assert not Mark.objects.exists()
    assert not Lease.objects.exists()


def test_mirror_whose_every_record_is_refused_is_paused(codes: Mirror, warehouse: Emulator) -> None:
    make(100)
    warehouse.set_faults({"status": 400, "body": {"code": 400, "message": "no", "reasons": ["no column note"]}})
    report = flush()["library.Code"]
    assert report.rejected == 0
    assert report.requests <= 40
    assert Mark.objects.count() == 100
    assert not Rejection.objects.exists()
    assert state().paused
    assert "every record is refused" in state().last_error
    assert "no column note" in state().last_error
    warehouse.set_faults([])
    MirrorState.objects.update(resume_at=0)
    flush()
    assert warehouse.tables() == {"codes": 100}
    assert not state().paused


def test_few_refused_records_are_rejected_though_they_are_all_there_is(codes: Mirror, warehouse: Emulator) -> None:
    make(3)
    warehouse.set_faults({"status": 400})
    assert flush()["library.Code"].rejected == 3


def test_500_that_follows_one_batch_around_is_bisected(codes: Mirror, warehouse: Emulator) -> None:
    make(250, 120)
    warehouse.set_faults({"status": 500, "contains": "poison"})
    for _ in range(5):
        flush()
        MirrorState.objects.update(resume_at=0)
    assert warehouse.tables() == {"codes": 249}
    rejection = Rejection.objects.get()
    assert rejection.key == "c120"
    assert "500" in rejection.reason
    assert not Mark.objects.exists()


def test_500_of_the_whole_server_rejects_nobody(codes: Mirror, warehouse: Emulator) -> None:
    make(30)
    warehouse.set_faults({"status": 500})
    for _ in range(6):
        flush()
        MirrorState.objects.update(resume_at=0)
    assert not Rejection.objects.exists()
    assert Mark.objects.count() == 30
    assert state().failures == 6
    warehouse.set_faults([])
    flush()
    assert warehouse.tables() == {"codes": 30}
    assert state().failures == 0


def test_500_now_and_then_rejects_nobody(codes: Mirror, warehouse: Emulator) -> None:
    make(300)
    warehouse.set_faults({"status": 500, "share": 0.2, "seed": 11})
    for _ in range(40):
        flush()
        MirrorState.objects.update(resume_at=0)
    assert not Rejection.objects.exists()
    assert warehouse.tables() == {"codes": 300}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "html": True},
        {"status": 503, "html": True},
        {"status": 500, "body": ""},
        {"status": 502, "body": "Bad Gateway"},
        {"status": 429, "retry_after": 3},
        {"reset": "before"},
        {"reset": "after"},
    ],
    ids=str,
)
def test_passing_fault_loses_nothing(codes: Mirror, warehouse: Emulator, fault: dict[str, Any]) -> None:
    make(250)
    warehouse.set_faults({**fault, "times": 2})
    for _ in range(4):
        flush()
        MirrorState.objects.update(resume_at=0)
        Lease.objects.update(expires_at=0)
    assert warehouse.tables() == {"codes": 250}
    assert not Mark.objects.exists()
    assert not Rejection.objects.exists()


def test_retry_after_is_honoured(codes: Mirror, warehouse: Emulator) -> None:
    from django_rjmetrics.pending import states

    make(1)
    warehouse.set_faults({"status": 429, "retry_after": 1000})
    flush()
    waits, probe = states.held_back("default")
    assert 900 < waits <= 1000
    assert not probe
