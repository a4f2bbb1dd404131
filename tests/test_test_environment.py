"""Inside Django's test environment nothing is marked or sent unless the test asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import TestCase
from shop.models import Customer

from django_rjmetrics.models import Mark
from django_rjmetrics.tasks import flush as flush_task
from django_rjmetrics.testing import flush, mirroring


@pytest.mark.django_db
def test_save_costs_what_it_costs_without_us(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        Customer.objects.create(joined="2020-01-01")
    assert not Mark.objects.exists()


@pytest.mark.django_db
def test_flush_task_sends_nothing(outbox: list[Any]) -> None:
    with mirroring():
        Customer.objects.create(joined="2020-01-01")
    flush_task()
    assert outbox == []


@pytest.mark.usefixtures("outbox")
class MirroringInATestCase(TestCase):
    def test_flush_delivers_inside_the_test_cases_transaction(self) -> None:
        from django_rjmetrics.backends.locmem import outbox

        with mirroring():
            customer = Customer.objects.create(joined="2020-01-01")
            reports = flush()
        self.assertEqual(reports["shop.Customer"].sent, 1)
        self.assertEqual(outbox, [("customers", {"keys": ["id"], "id": customer.pk, "joined": "2020-01-01"})])
        self.assertTrue(connection.in_atomic_block)

    @mirroring()
    def test_mirroring_decorates(self) -> None:
        Customer.objects.create(joined="2020-01-01")
        self.assertEqual(Mark.objects.count(), 1)
