"""Pages of keys: what a run reads and settles together, and the batches it sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from .exceptions import DeliveryError, RecordError
from .keys import Key
from .mirror import Mirror
from .pending.claims import Held, Marked, Settlement

Point: TypeAlias = tuple[Marked, bytes]


@dataclass
class Page:
    """Keys of one mirror that are sent and settled together.

    Attributes:
        held: their lease; None for a sandbox run, which has none.
        marked: what is known of each key, in the order to send them.
        tombstones: whether keys without a row are deleted records; a backfill's rows may just be gone.
        failures: how often in a row the mirror's delivery has failed before this.
    """

    mirror: Mirror
    using: str
    held: Held | None
    marked: dict[Key, Marked]
    tombstones: bool
    failures: int = 0
    outcome: Settlement = field(default_factory=Settlement)
    refused: list[tuple[Marked, str]] = field(default_factory=list)
    error: DeliveryError | None = None
    read: bool = False
    under_way: int = 0
    lost: bool = False

    def points(self, most_bytes: int) -> Iterator[tuple[Marked, bytes | RecordError]]:
        """Each record's data point or tombstone, read now, or why there is none that fits in a body.

        Keys that need nothing sent count as delivered.
        """
        missing = dict(self.marked)
        for key, point in self.mirror.data_points(list(self.marked), self.using):
            # A queryset of the user's that joins may give a row twice.
            if (item := missing.pop(key, None)) is not None:
                yield item, _fitting(point, most_bytes)
        if self.tombstones and self.mirror.on_delete == "tombstone":
            for key, point in self.mirror.tombstones(missing, self.using):
                yield missing[key], point
        else:
            self.outcome.delivered += missing.values()


def _fitting(point: bytes | RecordError, most_bytes: int) -> bytes | RecordError:
    if isinstance(point, RecordError) or len(point) + 2 <= most_bytes:
        return point
    return RecordError(f"the record is {len(point)} bytes of JSON, and MAX_BODY_BYTES is {most_bytes}")


def pack(points: Iterable[Point], most: int, most_bytes: int) -> Iterator[list[Point]]:
    """The points in batches of at most so many, whose JSON array has at most so many bytes."""
    batch: list[Point] = []
    size = 2
    for item, point in points:
        if batch and (len(batch) == most or size + len(point) > most_bytes):
            yield batch
            batch, size = [], 2
        batch.append((item, point))
        size += len(point) + 1
    if batch:
        yield batch


@dataclass
class Shipment:
    """A batch on its way, and the page's records in it."""

    page: Page
    points: list[Point]
    attempts: int = 0
