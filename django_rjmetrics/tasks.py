"""The Celery tasks: thin."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from . import flush as flushing
from . import wakeup
from .capture.switches import active
from .conf import settings
from .pending.claims import databases
from .registry import registry

# A flush gives way to other tasks after this; what is left goes with a new one.
SECONDS = 60.0


@shared_task(name=wakeup.FLUSH, bind=True, acks_late=True, ignore_result=True)
def flush(self: Any, database: str | None = None) -> None:
    """Send what is pending in one database, or, as the sweep does, in all of them."""
    if not active():
        return
    for using in databases() if database is None else [database]:
        eager = self.request.is_eager
        linger = 0.0 if eager else settings.LINGER
        result = flushing.flush(list(registry), using, linger=linger, seconds=SECONDS)
        # A longer wait is the sweep's.
        if result.again_in is not None and result.again_in < wakeup.EXPIRES and not eager:
            wakeup.publish(self.app, using, result.again_in)
