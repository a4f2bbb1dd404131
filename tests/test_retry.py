"""How long the API is left alone."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from django_rjmetrics.retry import LONGEST, LONGEST_ASKED, parse_retry_after, retry_delay

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, LONGEST), (31, LONGEST), (10**9, LONGEST)]
)
def test_retry_delay_ceiling_doubles(monkeypatch: pytest.MonkeyPatch, failures: int, ceiling: float):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    assert retry_delay(failures) == ceiling


def test_retry_delay_is_anywhere_below_its_ceiling():
    delays = [retry_delay(6) for _ in range(2000)]
    assert min(delays) < 4
    assert 28 < sum(delays) / len(delays) < 36
    assert 60 < max(delays) <= 64


@pytest.mark.parametrize(
    ("jitter", "asked", "expected"),
    [(2, 30, 30), (2, 1, 2), (2, 0, 2), (0, 0, 0), (2, LONGEST_ASKED + 1, LONGEST_ASKED), (2, None, 2)],
)
def test_retry_delay_honours_what_the_api_asks(
    monkeypatch: pytest.MonkeyPatch, jitter: float, asked: float | None, expected: float
):
    monkeypatch.setattr(random, "uniform", lambda low, high: jitter)
    assert retry_delay(1, asked) == expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("99999", LONGEST_ASKED),
        ("9" * 5000, LONGEST_ASKED),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Mon, 02 Mar 2026 12:00:00 GMT", LONGEST_ASKED),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30),
        ("Sun Mar  1 12:00:30 2026", 30),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("nan", None),
        ("Sun, 01 Mar 99999 12:00:00 GMT", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:00 +9999", None),
        ("\x00", None),
    ],
)
def test_parse_retry_after(header: str | None, seconds: float | None):
    assert parse_retry_after(header, NOW) == seconds


def test_parse_retry_after_never_raises():
    chance = random.Random(1)
    alphabet = 'Sun, 01 Mar 2026 12:00:30 GMT+-:;()"\\ 0123456789'
    for _ in range(3000):
        header = "".join(chance.choices(alphabet, k=chance.randrange(40)))
        seconds = parse_retry_after(header, NOW)
        assert seconds is None or 0 <= seconds <= LONGEST_ASKED
