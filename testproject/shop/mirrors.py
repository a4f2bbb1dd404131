"""What the shop's analysts see."""

from django.db.models import QuerySet
from django.db.models.functions import ExtractYear

from django_rjmetrics import Mirror, register

from .models import Customer, Purchase


@register(Customer)
class CustomerMirror(Mirror):
    """Everybody but the test accounts."""

    table = "customers"
    fields = ["id", "joined"]

    def get_queryset(self) -> QuerySet[Customer]:
        """Leave the test accounts out."""
        return Customer.objects.filter(is_test=False)


@register(Purchase)
class PurchaseMirror(Mirror):
    """Purchases, with what reports ask for most."""

    table = "purchases"
    fields = ["id", "customer", "customer__joined", "date", "year", "cds", "dollars", "size", "updated_at"]
    columns = {"customer__joined": "customer_since"}
    modified = "updated_at"
    on_delete = "tombstone"

    def get_queryset(self) -> QuerySet[Purchase]:
        """Add the year."""
        return Purchase.objects.annotate(year=ExtractYear("date"))

    def size(self, purchase: Purchase) -> str:
        """How much was bought at once."""
        return "single" if purchase.cds == 1 else "few" if purchase.cds <= 5 else "many"
