"""Writes each data point to standard output instead of sending it."""

from __future__ import annotations

import sys
import threading

from .base import BaseBackend, Batch


class Backend(BaseBackend):
    """For development: a line for each data point, ``table: {...}``."""

    def __init__(self, *, sandbox: bool = False) -> None:
        super().__init__(sandbox=sandbox)
        self._lock = threading.Lock()

    def upsert(self, table: str, batch: Batch) -> None:
        """Print the batch."""
        lines = [f"{table}: {point.decode()}\n" for point in batch.points]
        with self._lock:
            sys.stdout.writelines(lines)
            sys.stdout.flush()
