"""How long to leave the API alone after a failure."""

from __future__ import annotations

import datetime as dt
import random
from email.utils import parsedate_to_datetime

BASE = 1.0
LONGEST = 300.0
LONGEST_ASKED = 3600.0


def retry_delay(failures: int, retry_after: float | None = None) -> float:
    """Seconds to wait after the given number of failures in a row (1 or more).

    Exponential with full jitter, as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): anything
    between 0 and a ceiling that doubles each time, so that workers that failed together don't come back
    together. Never less than the API asked for with ``retry_after``, up to an hour.
    """
    ceiling = min(LONGEST, BASE * 2.0 ** min(failures, 30))
    delay = random.uniform(0, ceiling)  # noqa: S311 - spreads load, keeps no secret
    return max(delay, min(retry_after, LONGEST_ASKED)) if retry_after is not None else delay


def parse_retry_after(value: str | None, now: dt.datetime) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3), or None if it is absent or garbled.

    Takes the header as it came, in seconds or as an HTTP date, and the aware time to count a date from.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_ASKED)
    try:
        when = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.timezone.utc)
    return min(max((when - now).total_seconds(), 0.0), LONGEST_ASKED)
