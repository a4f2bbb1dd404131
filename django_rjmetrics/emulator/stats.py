"""Counts of the requests that push data."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Any

from .messages import Request


class _Counts:
    def __init__(self) -> None:
        self.requests = 0
        self.data_points = 0
        self.statuses: Counter[str] = Counter()

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "data_points": self.data_points,
            "statuses": dict(sorted(self.statuses.items())),
        }


class Stats:
    """What was pushed, production and sandbox apart. Calls other than data pushes are not counted.

    ``requests`` counts arrivals and ``statuses`` answers, so that a request left without an answer shows.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._production = _Counts()
            self._sandbox = _Counts()

    def arrived(self, request: Request) -> None:
        """Count a request."""
        if request.is_data:
            with self._lock:
                self._of(request).requests += 1

    def accepted(self, request: Request, points: int) -> None:
        """Count data points that were taken."""
        with self._lock:
            self._of(request).data_points += points

    def answered(self, request: Request, status: int) -> None:
        """Count an answer."""
        if request.is_data:
            with self._lock:
                self._of(request).statuses[str(status)] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return production's counts, with the sandbox's under ``sandbox``."""
        with self._lock:
            return {**self._production.as_dict(), "sandbox": self._sandbox.as_dict()}

    def _of(self, request: Request) -> _Counts:
        return self._sandbox if request.call is not None and request.call.sandbox else self._production
