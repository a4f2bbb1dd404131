"""A shop that sells CDs."""

from django.db import models


class Customer(models.Model):
    """Somebody who buys."""

    joined = models.DateField()
    is_test = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"customer {self.pk}"


class Purchase(models.Model):
    """One purchase of one or more CDs."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    date = models.DateField()
    cds = models.PositiveIntegerField()
    dollars = models.DecimalField(max_digits=8, decimal_places=2)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"purchase {self.pk}"
