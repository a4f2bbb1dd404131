"""The interface of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

B = TypeVar("B", bound="BaseBackend")


@dataclass(frozen=True)
class Batch:
    """1 to 100 data points of one table, written as JSON.

    Attributes:
        points: each data point's JSON, in UTF-8.
        deadline: the reading of ``time.monotonic()`` after which nothing of it may be sent any more.
    """

    points: Sequence[bytes] = field(repr=False)
    deadline: float

    def __len__(self) -> int:
        return len(self.points)

    @property
    def body(self) -> bytes:
        """The JSON array of the points."""
        return b"[" + b",".join(self.points) + b"]"


class BaseBackend:
    """Where batches go. One instance serves one run: opened, used from several threads at once, closed."""

    def __init__(self, *, sandbox: bool = False) -> None:
        self.sandbox = sandbox

    def open(self) -> None:
        """Get ready; raises ImproperlyConfigured where the settings don't allow it."""

    def close(self) -> None:
        """Let go of connections."""

    def upsert(self, table: str, batch: Batch) -> None:
        """Send the batch; return when it was taken, else raise a DeliveryError. Called from several threads."""
        raise NotImplementedError("A backend must override upsert().")

    def authenticate(self) -> None:
        """Check the credentials; raises CredentialsRefused, or another DeliveryError if that can't be told."""

    def __enter__(self: B) -> B:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
