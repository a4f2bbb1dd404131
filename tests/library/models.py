from __future__ import annotations

import uuid

from django.db import models


class Tag(models.TextChoices):
    NEW = "new"
    OLD = "old"


class Author(models.Model):
    name = models.CharField(max_length=100)


class Book(models.Model):
    """Every kind of value."""

    author = models.ForeignKey(Author, null=True, on_delete=models.SET_NULL)
    title = models.CharField(max_length=200)
    tag = models.CharField(max_length=10, choices=Tag.choices, default=Tag.NEW)
    price = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    weight = models.FloatField(null=True)
    pages = models.BigIntegerField(null=True)
    in_print = models.BooleanField(default=True)
    published = models.DateField(null=True)
    sold_at = models.DateTimeField(null=True)
    opens_at = models.TimeField(null=True)
    loan = models.DurationField(null=True)
    isbn = models.UUIDField(default=uuid.uuid4)
    cover = models.FileField(blank=True)
    blob = models.BinaryField(null=True)
    extra = models.JSONField(null=True)


class Code(models.Model):
    """A string for a key, and a remote key of its own."""

    code = models.CharField(max_length=60, primary_key=True)
    number = models.IntegerField(unique=True)
    note = models.TextField(blank=True)


class Place(models.Model):
    name = models.CharField(max_length=50)
    changed = models.DateTimeField(auto_now=True)


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class PlaceProxy(Place):
    class Meta:
        proxy = True


class Token(models.Model):
    """A UUID for a key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    password = models.CharField(max_length=50, blank=True)


class Slot(models.Model):
    """A composite key."""

    pk = models.CompositePrimaryKey("room", "hour")
    room = models.CharField(max_length=20)
    hour = models.IntegerField()
    taken = models.BooleanField(default=False)


class Colour:
    """A value that no rule of the package knows."""

    def __init__(self, red: int, green: int, blue: int) -> None:
        self.parts = (red, green, blue)


class ColourField(models.Field):
    """As a third party writes one: a type of its own, and what Django's serializers make of it."""

    def get_internal_type(self) -> str:
        return "CharField"

    def from_db_value(self, value, expression, connection):
        return value if value is None else Colour(*bytes.fromhex(value))

    def get_prep_value(self, value):
        return bytes(value.parts).hex() if isinstance(value, Colour) else value

    def value_to_string(self, obj) -> str:
        return "#" + self.get_prep_value(self.value_from_object(obj))


class Loan(models.Model):
    """A relation to a model that has relations, a generated column, a third party's field."""

    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="loans")
    days = models.IntegerField(default=1)
    hours = models.GeneratedField(
        expression=models.F("days") * 24, output_field=models.IntegerField(), db_persist=True
    )
    colour = ColourField(max_length=6, null=True)
