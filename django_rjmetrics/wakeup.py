"""Wakes a Celery worker after a commit, from a thread of its own: a broker that hangs hangs only that thread."""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import cache, partial

import celery
from django.db import connections, transaction

from .conf import settings

logger = logging.getLogger("django_rjmetrics")

FLUSH = "rjmetrics.flush"
# A wake-up that nobody took by then is not needed: the sweep has been by.
EXPIRES = 60.0
COMPLAIN_EVERY = 60.0

_app: celery.Celery | None = None
_complained = -COMPLAIN_EVERY


def use_app(app: celery.Celery) -> None:
    """Publish through ``app``. Celery's ``current_app`` is the thread's: others would see an unconfigured one."""
    global _app
    _app = app


def after_commit(using: str) -> None:
    """Wake a worker once the current transaction of ``using`` has committed; at once in autocommit mode."""
    if not settings.CELERY:
        return
    connection = connections[using]
    if not connection.in_atomic_block and not connection.get_autocommit():
        # on_commit() raises here: the caller commits by hand, at a time of its own.
        wake(using)
        return
    hook = _hook(using)
    # A bulk of saves needs one hook, not one each. One that any rollback would drop together with this save
    # is as good as a new one.
    if connection.in_atomic_block and connection.run_on_commit:
        savepoints, last = connection.run_on_commit[-1][:2]
        if last is hook and savepoints <= set(connection.savepoint_ids):
            return
    transaction.on_commit(hook, using=using, robust=True)


def wake(using: str) -> None:
    """Have ``rjmetrics.flush`` run for ``using`` in LINGER seconds; sets a flag, and never waits or raises.

    With CELERY_TASK_ALWAYS_EAGER, which is for demos and tests, the flush runs here and now.
    """
    app = _app or celery.current_app
    if app.conf.task_always_eager:
        app.tasks[FLUSH].apply(kwargs={"database": using})
        return
    _waker.wake(using)


@cache
def _hook(using: str) -> partial[None]:
    hook = partial(wake, using)
    # Django names the callback by it when it logs a failure.
    hook.__qualname__ = wake.__qualname__  # type: ignore[attr-defined]
    return hook


class _Waker:
    """A daemon thread, started at the first wake-up, that publishes at most one an alias each LINGER."""

    def __init__(self) -> None:
        self._flagged: set[str] = set()
        self._event = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self, using: str) -> None:
        self._flagged.add(using)
        self._event.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="rjmetrics-wakeup", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            self._event.wait()
            self._event.clear()
            while self._flagged:
                publish(_app or celery.current_app, self._flagged.pop(), settings.LINGER)
            time.sleep(settings.LINGER)


def publish(app: celery.Celery, using: str, countdown: float) -> None:
    """Publish one wake-up, due in ``countdown`` seconds; a broker's failure is logged, once a minute."""
    global _complained
    try:
        app.send_task(
            FLUSH,
            kwargs={"database": using},
            countdown=countdown,
            expires=countdown + EXPIRES,
            ignore_result=True,
            retry=False,
        )
    except Exception as error:  # noqa: BLE001 - brokers raise anything; the sweep makes up for it
        now = time.monotonic()
        if now - _complained >= COMPLAIN_EVERY:
            _complained = now
            logger.warning(
                "Could not wake a Celery worker (%s); what is pending goes with the next sweep.",
                type(error).__name__,
            )


_waker = _Waker()


def _after_fork() -> None:
    # The thread stays with the parent.
    global _waker
    _waker = _Waker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
