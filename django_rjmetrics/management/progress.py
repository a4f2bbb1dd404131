"""Shows how far a backfill is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from django.core.management.base import OutputWrapper
from tqdm import tqdm

LINE_EVERY = 10.0


class Progress:
    """Counts rows of ``total``, about; a context manager whose ``advance`` takes the number of rows just done."""

    def __init__(self, name: str, total: int, stream: OutputWrapper) -> None:
        self._name = name
        self._total = total
        self._stream = stream
        self._done = 0
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Progress:
        self._started = self._line_at = time.monotonic()
        if self._stream.isatty():
            terminal: Any = self._stream._out
            self._bar = tqdm(
                total=self._total, desc=self._name, unit=" rows", file=terminal, dynamic_ncols=True, leave=False
            )
        return self

    def advance(self, rows: int) -> None:
        """So many rows more are dealt with."""
        self._done += rows
        if self._bar is not None:
            self._bar.update(rows)
        elif time.monotonic() - self._line_at >= LINE_EVERY:
            self._line_at = time.monotonic()
            rate = self._done / (self._line_at - self._started)
            left = max(0, self._total - self._done) / rate if rate else 0
            self._stream.write(
                f"{self._name}: {self._done:,} of {self._total:,} rows, {rate:,.0f} rows/s, {left:,.0f} s left"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
