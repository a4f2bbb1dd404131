"""A real Celery worker in a process of its own, over each broker that answers."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.db import connection, transaction
from shop.models import Customer, Purchase

from django_rjmetrics import wakeup
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.models import Mark
from tests import services

ROOT = Path(__file__).resolve().parent.parent


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"{what} did not happen within {seconds} seconds"
        time.sleep(0.02)


@pytest.fixture(params=["filesystem", "redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of a broker."""
    if request.param == "filesystem":
        return "filesystem://"
    service = services.BROKERS[request.param]
    if missing := service.missing():
        if services.MODE == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return service.url


@contextmanager
def published_through(broker: str, queue: str) -> Iterator[Celery]:
    """Has this process publish its wake-ups to the broker's queue."""
    app = Celery("tests", broker=broker, set_as_current=False)
    app.conf.task_default_queue = queue
    if broker == "filesystem://":
        from shopsite.settings import CELERY_BROKER_TRANSPORT_OPTIONS

        app.conf.broker_transport_options = CELERY_BROKER_TRANSPORT_OPTIONS
    before = wakeup._app
    wakeup.use_app(app)
    try:
        yield app
    finally:
        wakeup.use_app(before)  # type: ignore[arg-type]
        app.close()


@contextmanager
def worker(broker: str, queue: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process on the test's database, emulator and queue."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "testproject"), os.environ.get("PYTHONPATH", "")]),
        "RJMETRICS_TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "RJMETRICS_TEST_BROKER": broker,
        "RJMETRICS_TEST_QUEUE": queue,
        "RJMETRICS_TEST_SETTINGS": json.dumps(django_settings.RJMETRICS),
    }
    command = ["celery", "-A", "shopsite", "worker", "--pool", "threads", "-c", "2", "-l", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until(
                lambda: b"ready." in log.read_bytes() or process.poll() is not None, "the worker's start", 60
            )
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def live(warehouse: Emulator, broker: str, tmp_path: Path) -> Iterator[Emulator]:
    """The warehouse with a worker that keeps it up to date."""
    django_settings.RJMETRICS["CELERY"] = True
    queue = f"rjmetrics-{uuid.uuid4().hex}"
    with published_through(broker, queue) as app, worker(broker, queue, tmp_path / "worker.log"):
        yield warehouse
        with app.connection_for_write() as link:
            link.default_channel.queue_delete(queue)


def buy(who: Customer, count: int) -> None:
    for number in range(count):
        Purchase.objects.create(customer=who, date=dt.date(1997, 1, 2), cds=number, dollars=Decimal("9.99"))


def test_thousand_saves_arrive_by_themselves_in_few_requests(live: Emulator) -> None:
    who = Customer.objects.create(joined=dt.date(1997, 1, 1))
    wait_until(lambda: live.tables() == {"customers": 1}, "the customer's arrival")
    before = live.stats()["requests"]
    buy(who, 1_000)
    wait_until(lambda: live.tables().get("purchases") == 1_000, "the purchases' arrival")
    wait_until(lambda: not Mark.objects.exists(), "the acknowledgement")
    assert 10 <= live.stats()["requests"] - before <= 15
    Purchase.objects.all().delete()
    wait_until(lambda: all("deleted_at" in row for row in live.rows("purchases")), "the tombstones' arrival")


def test_transaction_arrives_after_its_commit(live: Emulator) -> None:
    with transaction.atomic():
        Customer.objects.create(joined=dt.date(1997, 1, 1))
        assert live.stats()["requests"] == 0
    wait_until(lambda: live.tables() == {"customers": 1}, "the customer's arrival")


def test_worker_comes_back_after_a_failure_by_itself(live: Emulator) -> None:
    live.set_faults({"status": 500, "times": 2})
    Customer.objects.create(joined=dt.date(1997, 1, 1))
    wait_until(lambda: live.tables() == {"customers": 1}, "the customer's arrival", 60)


def test_failed_publishing_is_logged_once_and_raises_nothing(
    warehouse: Emulator, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.RJMETRICS["CELERY"] = True
    settings.RJMETRICS["LINGER"] = 0.01
    with published_through("redis://127.0.0.1:1/0", "nobody"):
        Customer.objects.create(joined=dt.date(1997, 1, 1))
        wait_until(lambda: "Could not wake a Celery worker" in caplog.text, "the warning")
    assert Mark.objects.count() == 1
