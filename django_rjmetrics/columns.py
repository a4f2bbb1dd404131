"""Resolves the names in a mirror's ``fields`` to columns: once, when the mirror is first used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.constants import LOOKUP_SEP

from .values import Unsupported, json_value

if TYPE_CHECKING:
    from .mirror import Mirror

# Fields whose values come from the database as JSON takes them: no conversion, no call a row.
PLAIN_FIELDS = frozenset(
    {
        models.AutoField,
        models.BigAutoField,
        models.BigIntegerField,
        models.BooleanField,
        models.CharField,
        models.EmailField,
        models.FloatField,
        models.IntegerField,
        models.PositiveBigIntegerField,
        models.PositiveIntegerField,
        models.PositiveSmallIntegerField,
        models.SlugField,
        models.SmallAutoField,
        models.SmallIntegerField,
        models.TextField,
        models.URLField,
    }
)
# Column names that the warehouse and its sister integrations use themselves.
SYSTEM_COLUMNS = frozenset({"_id", "_item_hash", "_updated_at"})
TABLE_NAME = re.compile(r"[A-Za-z0-9_]+")


class Problem(NamedTuple):
    """A mistake in a mirror: the id of its check, what is wrong and what to do."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True)
class Column:
    """One column of the remote table.

    Attributes:
        name: the column's name in the warehouse.
        source: the name in ``fields`` that it comes from.
        path: what to select, or None for a method.
        method: called with the instance, or None.
        convert: from the selected value to a JSON value, or None where they are the same.
        local: names of the mirror's own model's fields that it shows, or None where that can't be told.
    """

    name: str
    source: str
    path: str | None
    method: Callable[[Any], Any] | None
    convert: Callable[[Any], Any] | None
    local: frozenset[str] | None


def sources(mirror: Mirror) -> list[str]:
    """The names that ``fields`` stands for, the key's first where ``fields`` leaves them out."""
    meta = mirror.model._meta
    named = mirror.fields or ()
    if named == "__all__":
        chosen = [
            field.name for field in meta.concrete_fields if {field.name, field.attname}.isdisjoint(mirror.exclude)
        ]
    else:
        chosen = list(named)
    present = {_field_name(mirror.model, name) for name in chosen}
    missing = [name for name in key_sources(mirror) if _field_name(mirror.model, name) not in present]
    return missing + chosen


def key_sources(mirror: Mirror) -> list[str]:
    """The names of the fields that form the remote key: ``keys``, or those of the primary key."""
    return list(mirror.keys) or [field.name for field in mirror.model._meta.pk_fields]


def _field_name(model: type[models.Model], name: str) -> str:
    try:
        return str(_field(model, name).name)
    except FieldDoesNotExist:
        return name


def _field(model: type[models.Model], step: str) -> Any:
    return model._meta.pk if step == "pk" else model._meta.get_field(step)


def attname(model: type[models.Model], name: str) -> str:
    """The attribute that holds the value of the model's field ``name``."""
    return str(_field(model, name).attname)


def method_of(mirror: Mirror, name: str) -> Callable[[Any], Any] | None:
    """The user's method ``name`` of the mirror, or None; what Mirror itself has is not the user's."""
    from .mirror import Mirror as Base

    method = getattr(mirror, name, None)
    return method if callable(method) and not hasattr(Base, name) else None


def resolve(mirror: Mirror, name: str, annotations: Iterable[str]) -> Column | str:
    """The column that ``name`` stands for, or a sentence that says why there is none."""
    column = mirror.columns.get(name)
    method = method_of(mirror, name)
    if method is not None:
        reads = mirror.reads.get(name)
        return Column(column or name, name, None, method, json_value, local_names(mirror.model, reads))
    if name in annotations:
        reads = mirror.reads.get(name)
        return Column(column or _flat(name), name, name, None, json_value, local_names(mirror.model, reads))
    found = _walk(mirror.model, name)
    if isinstance(found, str):
        return found
    path, field, first = found
    return Column(column or _flat(path), name, path, None, _converter(field), local_names(mirror.model, [first]))


def _flat(path: str) -> str:
    return path.replace(LOOKUP_SEP, "_")


def local_names(model: type[models.Model], names: Iterable[str] | None) -> frozenset[str] | None:
    """The names and attnames by which ``save(update_fields=...)`` may call these fields; None: can't be told."""
    if names is None:
        return None
    fields = [model._meta.get_field(name) for name in names]
    shown = {name for field in fields for name in (field.name, getattr(field, "attname", field.name))}
    for field in fields:
        # A generated column changes with the columns it is made from, which Django tells from 6.0 on.
        if getattr(field, "generated", False):
            if not hasattr(field, "referenced_fields"):
                return None
            for source in field.referenced_fields:
                shown |= {source.name, source.attname}
    return frozenset(shown)


def _walk(model: type[models.Model], name: str) -> tuple[str, models.Field[Any, Any], str] | str:
    """The path to select, its last field, and the first step's name on the mirror's own model."""
    steps = name.split(LOOKUP_SEP)
    path = []
    here: type[models.Model] = model
    for position, step in enumerate(steps):
        try:
            field = _field(here, step)
        except FieldDoesNotExist:
            choices = ", ".join(sorted(_selectable(here)))
            what = "a field, an annotation or a method" if position == 0 else "a field"
            return f"{step!r} is not {what} of {here._meta.label}, whose fields are: {choices}"
        last = position == len(steps) - 1
        if field.many_to_many or field.one_to_many or (not last and field.related_model is None):
            return f"{step!r} does not lead to one row: use a method or an annotation"
        if last and not (field.concrete and field.column):
            return f"{step!r} is not a column of {here._meta.label}: use a method"
        path.append(field.attname if last else field.name)
        if not last:
            here = field.related_model
    return LOOKUP_SEP.join(path), field, _field_name(model, steps[0])


def _selectable(model: type[models.Model]) -> Iterator[str]:
    return (field.name for field in model._meta.concrete_fields)


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    value_field: Any = field
    while isinstance(value_field, models.ForeignKey):
        value_field = value_field.target_field
    if type(value_field) in PLAIN_FIELDS:
        return None

    def convert(value: Any) -> Any:
        try:
            return json_value(value)
        except Unsupported:
            # As Django's serializers write a field's own type: they hand value_to_string() the instance.
            return json_value(value_field.value_to_string(SimpleNamespace(**{value_field.attname: value})))

    return convert
