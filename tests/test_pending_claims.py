"""Claims, leases and settlements, on the real database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from django_rjmetrics import Mirror
from django_rjmetrics.exceptions import CredentialsRefused, ServerError, Unavailable
from django_rjmetrics.models import Lease, Mark, MirrorState, Rejection
from django_rjmetrics.pending import claims, marks, states
from django_rjmetrics.pending.claims import Claim, Marked, Settlement
from tests.library.models import Code

pytestmark = pytest.mark.django_db(transaction=True)

DEFAULT = "default"


@pytest.fixture
def codes(mirror: Callable[..., Mirror], settings: Any) -> Iterator[Mirror]:
    settings.RJMETRICS = {"CELERY": False}
    return mirror(Code, fields=["code", "number"])


def mark(*texts: str) -> None:
    marks.append(DEFAULT, [("library.Code", text, None) for text in texts])


def claim(mirror: Mirror, **given: Any) -> Claim:
    return claims.claim(mirror, DEFAULT, **{"after": 0, "limit": 100, "batch_size": 10, "linger": 0.0, **given})


def everything(found: Claim) -> Settlement:
    return Settlement(delivered=list(found.marked.values()))


def pending() -> list[str]:
    return list(Mark.objects.order_by("id").values_list("key", flat=True))


def end_leases() -> None:
    Lease.objects.update(expires_at=0)


def test_claim_takes_keys_once_oldest_first(codes: Mirror) -> None:
    mark("b", "a", "b", "c", "a")
    found = claim(codes)
    assert list(found.marked) == ["b", "a", "c"]
    assert [len(item.ids) for item in found.marked.values()] == [2, 2, 1]


def test_claim_tells_keys_apart_as_python_does(codes: Mirror) -> None:
    mark("abc", "ABC", "abc ", "äbc")
    assert list(claim(codes).marked) == ["abc", "ABC", "abc ", "äbc"]


def test_claim_passes_over_leased_keys(codes: Mirror) -> None:
    mark("a", "b")
    first = claim(codes)
    mark("a", "B", "c")
    assert list(first.marked) == ["a", "b"]
    assert list(claim(codes).marked) == ["B", "c"]


def test_claim_takes_over_an_ended_lease(codes: Mirror) -> None:
    mark("a")
    claim(codes)
    assert claim(codes).held is None
    end_leases()
    assert list(claim(codes).marked) == ["a"]
    assert Lease.objects.count() == 1


def test_claim_leaves_other_mirrors_marks_alone(codes: Mirror) -> None:
    marks.append(DEFAULT, [("library.Gone", "a", None)])
    assert claim(codes).held is None
    assert pending() == ["a"]


def test_claim_of_nothing_leases_nothing(codes: Mirror) -> None:
    assert claim(codes).held is None
    assert not Lease.objects.exists()


def test_claim_pages_on_after_what_it_took(codes: Mirror) -> None:
    mark(*"abcdefg")
    first = claim(codes, limit=3, batch_size=3)
    second = claim(codes, limit=3, batch_size=3, after=first.after)
    third = claim(codes, limit=3, batch_size=3, after=second.after)
    assert [list(found.marked) for found in (first, second, third)] == [list("abc"), list("def"), ["g"]]
    assert third.after is None


def test_claim_leaves_a_short_rest_to_the_next_page(codes: Mirror) -> None:
    mark(*"abcdefg")
    first = claim(codes, limit=5, batch_size=3)
    assert list(first.marked) == list("abc")
    assert list(claim(codes, limit=5, batch_size=3, after=first.after).marked) == list("defg")


def test_claim_reads_on_through_a_hot_keys_backlog(codes: Mirror) -> None:
    mark(*"aaaaaaa", "b")
    found = claim(codes, limit=3, batch_size=3)
    assert [len(item.ids) for item in found.marked.values()] == [7, 1]


def test_claim_gets_past_a_backlog_longer_than_it_reads(codes: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PAGES_AT_MOST", 2)
    mark(*"aaaaaaa", "b")
    first = claim(codes, limit=3, batch_size=3)
    assert [len(item.ids) for item in first.marked.values()] == [6]
    assert first.held
    claims.settle(codes, first.held, first.marked.values(), everything(first))
    assert list(claim(codes, limit=3, batch_size=3, after=first.after).marked) == ["a", "b"]


def test_claim_lets_a_short_batch_linger(codes: Mirror) -> None:
    mark(*"abcde")
    assert list(claim(codes, batch_size=2, linger=60).marked) == list("abcd")
    assert claim(codes, batch_size=2, linger=60).held is None
    Mark.objects.filter(key="e").update(marked_at=0)
    assert list(claim(codes, batch_size=2, linger=60).marked) == ["e"]


def test_claim_waits_while_the_mirror_backs_off(codes: Mirror) -> None:
    mark("a")
    states.back_off(codes.label, DEFAULT, ServerError("500", retry_after=30))
    assert claim(codes).held is None
    states.recovered(codes.label, DEFAULT)
    assert claim(codes).held


def test_claim_waits_while_all_mirrors_back_off(codes: Mirror) -> None:
    mark("a")
    states.back_off("shop.Purchase", DEFAULT, Unavailable("down", retry_after=30))
    assert claim(codes).held is None


def test_settle_deletes_exactly_what_was_read(codes: Mirror) -> None:
    mark("a", "a", "b")
    found = claim(codes)
    mark("a")
    assert found.held
    assert claims.settle(codes, found.held, found.marked.values(), everything(found))
    assert pending() == ["a"]
    assert not Lease.objects.exists()
    assert MirrorState.objects.get(mirror=codes.label).last_success_at


def test_settle_of_many_marks(codes: Mirror) -> None:
    mark(*(f"k{number}" for number in range(1_203)))
    found = claim(codes, limit=2_000, batch_size=100)
    assert found.held
    mark("late")
    claims.settle(codes, found.held, found.marked.values(), everything(found))
    assert pending() == ["late"]


def test_settle_after_a_lost_lease_marks_the_page_again(codes: Mirror) -> None:
    mark("a", "b")
    slow = claim(codes)
    end_leases()
    quick = claim(codes)
    assert slow.held
    assert quick.held
    claims.settle(codes, quick.held, quick.marked.values(), everything(quick))
    assert pending() == []
    assert not claims.settle(codes, slow.held, slow.marked.values(), everything(slow))
    assert pending() == ["a", "b"]


def test_settle_of_an_ended_lease_that_nobody_took_counts(codes: Mirror) -> None:
    mark("a")
    found = claim(codes)
    end_leases()
    assert found.held
    assert claims.settle(codes, found.held, found.marked.values(), everything(found))
    assert pending() == []


def test_settle_keeps_the_lease_of_ambiguous_records_alone(codes: Mirror) -> None:
    mark("a", "b")
    found = claim(codes)
    assert found.held
    ends = Lease.objects.get().expires_at
    outcome = Settlement(delivered=[found.marked["a"]], ambiguous={"b": found.marked["b"]})
    claims.settle(codes, found.held, found.marked.values(), outcome)
    assert pending() == ["b"]
    assert claim(codes).held is None
    mark("a")
    assert list(claim(codes).marked) == ["a"]
    assert Lease.objects.order_by("id")[0].expires_at == ends
    end_leases()
    assert "b" in claim(codes).marked


def test_settle_keeps_rejections_until_the_record_is_settled_again(codes: Mirror) -> None:
    mark("a", "A")
    found = claim(codes)
    assert found.held
    rejected = [(item, f"no {key}") for key, item in found.marked.items()]
    claims.settle(codes, found.held, found.marked.values(), Settlement(rejected=rejected))
    assert pending() == []
    assert sorted(Rejection.objects.values_list("key", "reason")) == [("A", "no A"), ("a", "no a")]
    mark("a")
    found = claim(codes)
    assert found.held
    claims.settle(codes, found.held, found.marked.values(), everything(found))
    assert list(Rejection.objects.values_list("key", flat=True)) == ["A"]
    mark("A")
    found = claim(codes)
    assert found.held
    claims.settle(codes, found.held, found.marked.values(), Settlement(rejected=[(found.marked["A"], "still no")]))
    assert list(Rejection.objects.values_list("key", "reason")) == [("A", "still no")]


def test_retry_rejected_marks_them_again(codes: Mirror) -> None:
    mark("a")
    found = claim(codes)
    assert found.held
    claims.settle(codes, found.held, [], Settlement(rejected=[(Marked("a", tombstone_keys='{"n":1}'), "no")]))
    Mark.objects.all().delete()
    assert states.retry_rejected(codes, DEFAULT) == 1
    assert list(Mark.objects.values_list("key", "tombstone_keys")) == [("a", '{"n":1}')]
    assert not Rejection.objects.exists()


def test_renew_prolongs_a_lease(codes: Mirror) -> None:
    mark("a")
    found = claim(codes)
    assert found.held
    end_leases()
    assert claims.renew(found.held)
    assert claim(codes).held is None


def test_renew_of_a_lost_lease_says_so(codes: Mirror) -> None:
    mark("a")
    slow = claim(codes)
    end_leases()
    claim(codes)
    assert slow.held
    assert not claims.renew(slow.held)


def test_backfill_lease_skips_and_marks_keys_in_flight(codes: Mirror) -> None:
    mark("a")
    claim(codes)
    Mark.objects.all().delete()
    held, free = claims.lease(codes, DEFAULT, ["a", "b"])
    assert held
    assert free == ["b"]
    assert pending() == ["a"]
    assert claims.lease(codes, DEFAULT, ["b"]) == (None, [])


def test_unreadable_key_is_no_key(mirror: Callable[..., Mirror], settings: Any) -> None:
    from shop.models import Customer

    settings.RJMETRICS = {"CELERY": False}
    customers = mirror(Customer, fields=["id"])
    marks.append(DEFAULT, [("shop.Customer", "nonsense", None)])
    found = claim(customers)
    assert found.marked == {}
    assert [item.text for item in found.unreadable] == ["nonsense"]


def test_back_off_of_workers_that_fail_together_counts_once(codes: Mirror) -> None:
    for _ in range(5):
        states.back_off(codes.label, DEFAULT, ServerError("500", retry_after=30))
    assert MirrorState.objects.get(mirror=codes.label).failures == 1


def test_refused_credentials_hold_all_back_and_one_probe_a_minute_goes(codes: Mirror) -> None:
    states.back_off(codes.label, DEFAULT, CredentialsRefused("401"))
    waits, probe = states.held_back(DEFAULT)
    assert (0 < waits <= 60, probe) == (True, False)
    MirrorState.objects.filter(mirror="*").update(resume_at=1)
    assert states.held_back(DEFAULT) == (0.0, True)
    waits, probe = states.held_back(DEFAULT)
    assert (0 < waits <= 60, probe) == (True, False)


class Elsewhere(threading.Thread):
    """Runs a function on a connection of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function = function
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:  # noqa: BLE001
            self.error = error
        finally:
            connection.close()

    def finish(self) -> Any:
        self.join(30)
        assert not self.is_alive(), "it waits for somebody"
        if self.error:
            raise self.error
        return self.result


def elsewhere(function: Callable[[], Any]) -> Any:
    thread = Elsewhere(function)
    thread.start()
    return thread.finish()


needs_several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time, by design"
)


@needs_several_writers
def test_workers_never_wait_for_an_open_checkout(codes: Mirror) -> None:
    mark(*(f"k{number}" for number in range(30)))
    with transaction.atomic():
        mark("open")

        def work() -> list[str]:
            found = claim(codes)
            assert found.held
            claims.settle(codes, found.held, found.marked.values(), everything(found))
            return [item.text for item in found.marked.values()]

        assert len(elsewhere(work)) == 30
    assert pending() == ["open"]


@needs_several_writers
def test_writers_never_wait_for_each_other_or_for_a_worker(codes: Mirror) -> None:
    mark("a", "b")
    with transaction.atomic():
        mark("a")
        elsewhere(lambda: mark("b", "a"))
        mark("b")
    with claims._transaction(DEFAULT):
        claims._lock(codes.label, DEFAULT)
        marked = list(Mark.objects.filter(mirror=codes.label).order_by("id"))
        claims._delete_marks(DEFAULT, [item.pk for item in marked])
        elsewhere(lambda: mark("c"))
    assert pending() == ["c"]


@needs_several_writers
def test_mark_with_a_lower_id_that_commits_later_is_still_there(codes: Mirror) -> None:
    with transaction.atomic():
        mark("slow")
        elsewhere(lambda: mark("quick"))
        found = elsewhere(lambda: claim(codes))
        assert list(found.marked) == ["quick"]
        elsewhere(lambda: claims.settle(codes, found.held, found.marked.values(), everything(found)))
    assert pending() == ["slow"]


def test_simultaneous_claims_never_take_the_same_key(codes: Mirror) -> None:
    mark(*(f"k{number:03}" for number in range(200)))
    start = threading.Barrier(6)
    taken: list[str] = []

    def work() -> list[str]:
        start.wait()
        mine: list[str] = []
        after: int | None = 0
        while after is not None:
            found = claim(codes, limit=20, after=after)
            mine += found.marked
            after = found.after
        return mine

    threads = [Elsewhere(work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        taken += thread.finish()
    assert sorted(taken) == pending()
