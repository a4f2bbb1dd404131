"""Keeps what would be sent in a list, for tests."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from typing import Any

from .base import BaseBackend, Batch

#: (table, data point) in the order they came; ``clear()`` it between tests.
outbox: list[tuple[str, dict[str, Any]]] = []

_lock = threading.Lock()


class Backend(BaseBackend):
    """Appends each data point to ``outbox``, its numbers with a fraction as Decimal."""

    def upsert(self, table: str, batch: Batch) -> None:
        """Append the batch."""
        points = [(table, json.loads(point, parse_float=Decimal)) for point in batch.points]
        with _lock:
            outbox.extend(points)
