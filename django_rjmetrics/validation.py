"""What is wrong with a mirror's declaration, told before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from . import columns
from .columns import Column, Problem
from .mirror import Mirror

_Make = Callable[[str, str, str], Problem]

_FIELDS_HINT = 'List the fields to send, or say fields = "__all__".'

SECRET_WORDS = frozenset({"password", "passwd", "token", "secret", "key", "apikey"})


def mirror_problems(mirror: Mirror) -> list[Problem]:
    """The mistakes in a mirror, the first to mend first; none for one that can be sent."""
    return list(_problems(mirror))


def secret_columns(mirror: Mirror) -> list[str]:
    """The names in ``fields`` that are called like something that doesn't belong in a warehouse."""
    return [name for name in columns.sources(mirror) if SECRET_WORDS & set(re.split(r"_+", name.lower()))]


def keys_unique(mirror: Mirror) -> bool:
    """Whether the model itself sees that no two rows have the same remote key."""
    meta = mirror.model._meta
    keys = {columns.attname(mirror.model, name) for name in columns.key_sources(mirror)}
    sets: list[Iterable[str]] = [[field.name for field in meta.pk_fields], *meta.unique_together]
    sets += [[field.name] for field in meta.concrete_fields if field.unique]
    sets += [constraint.fields for constraint in meta.total_unique_constraints]
    return any(keys >= {columns.attname(mirror.model, name) for name in names} for names in sets)


def _problems(mirror: Mirror) -> Iterator[Problem]:
    name = type(mirror).__name__

    def problem(check_id: str, message: str, hint: str) -> Problem:
        return Problem(f"rjmetrics.{check_id}", f"{name} ({mirror.label}): {message}", hint)

    misshapen = list(_shape_problems(mirror, problem))
    yield from misshapen
    if misshapen:
        # What follows takes the options for what they should be.
        return
    if not columns.TABLE_NAME.fullmatch(mirror.table_name):
        yield problem(
            "E012",
            f"the table name {mirror.table_name!r} is not one the API takes.",
            "Set table to a name of letters, digits and underscores.",
        )
    try:
        queryset = mirror.get_queryset()
        annotations = queryset.query.annotations
        queryset.order_by().filter(pk__in=[])
        if queryset._fields is not None or not issubclass(queryset.model, _concrete(mirror.model)):  # type: ignore[attr-defined]
            raise TypeError("it must return rows of the model, without values() or values_list()")
    except Exception as error:  # noqa: BLE001 - the user's code
        yield problem(
            "E019",
            f"get_queryset() does not work: {type(error).__name__}: {error}",
            "Return an unsliced queryset of the model.",
        )
        return
    concrete = {name for field in mirror.model._meta.concrete_fields for name in (field.name, field.attname)}
    yield from _name_problems(mirror, concrete, problem)
    if any(name not in concrete for names in mirror.reads.values() for name in names):
        return
    found: list[Column] = []
    for source in columns.sources(mirror):
        if source in mirror.keys and source not in concrete:
            continue
        column = columns.resolve(mirror, source, annotations)
        if isinstance(column, str):
            yield problem("E011", f"fields: {column}.", "Correct the name, or drop it from fields.")
            continue
        found.append(column)
        if column.method and _is_own_field(mirror.model, source):
            yield problem(
                "E014",
                f"the method {source}() has the name of a model field.",
                "Rename the method, and the column with columns if need be.",
            )
    yield from _column_problems(mirror, found, problem)


def _shape_problems(mirror: Mirror, problem: _Make) -> Iterator[Problem]:
    """Options that are not of the type they should be."""
    if not isinstance(mirror.table, str):
        yield problem("E012", f"table is {mirror.table!r}.", "Set table to a string.")
    if not mirror.fields:
        yield problem("E010", "fields is missing.", _FIELDS_HINT)
    elif mirror.fields != "__all__" and not _names(mirror.fields):
        yield problem("E010", f"fields is {mirror.fields!r}.", _FIELDS_HINT)
    for option in ("exclude", "keys"):
        given: Any = getattr(mirror, option)
        if not _names(given):
            yield problem("E015", f"{option} is {given!r}.", f'Make it a list of names: {option} = ["..."].')
    if not isinstance(mirror.columns, Mapping) or not all(
        isinstance(column, str) and column for column in mirror.columns.values()
    ):
        yield problem(
            "E015", f"columns is {mirror.columns!r}.", 'Make it a dictionary: columns = {"field": "column"}.'
        )
    if not isinstance(mirror.reads, Mapping) or not all(_names(names) for names in mirror.reads.values()):
        yield problem(
            "E015", f"reads is {mirror.reads!r}.", 'Make it a dictionary: reads = {"method": ["field"]}.'
        )
    if mirror.on_delete not in ("ignore", "tombstone"):
        yield problem("E018", f"on_delete is {mirror.on_delete!r}.", 'Set it to "ignore" or "tombstone".')
    if not isinstance(mirror.deleted_column, str) or not mirror.deleted_column:
        yield problem("E018", f"deleted_column is {mirror.deleted_column!r}.", "Set it to a column's name.")


def _names(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given)


def _concrete(model: type[models.Model]) -> type[models.Model]:
    assert model._meta.concrete_model is not None
    return model._meta.concrete_model


def _is_own_field(model: type[models.Model], name: str) -> bool:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    # Another model's relation to this one is no field of its own.
    return not (field.auto_created and not field.concrete)


def _name_problems(mirror: Mirror, concrete: set[str], problem: _Make) -> Iterator[Problem]:
    """Names, outside ``fields``, that stand for nothing."""
    hint = f"The fields are: {', '.join(sorted(field.name for field in mirror.model._meta.concrete_fields))}."
    if mirror.exclude and mirror.fields != "__all__":
        yield problem("E015", 'exclude goes with fields = "__all__" only.', "Leave the names out of fields.")
    for name in mirror.exclude:
        if name not in concrete:
            yield problem("E015", f"exclude: {name!r} is not a field.", hint)
    for name in mirror.keys:
        if name not in concrete:
            yield problem("E016", f"keys: {name!r} is not a field.", hint)
    for source, names in mirror.reads.items():
        for name in names:
            if name not in concrete:
                yield problem("E015", f"reads[{source!r}]: {name!r} is not a field.", hint)
    if mirror.modified is None:
        return
    if not isinstance(mirror.modified, str) or mirror.modified not in concrete:
        yield problem("E017", f"modified: {mirror.modified!r} is not a field.", hint)
    elif not isinstance(mirror.model._meta.get_field(mirror.modified), models.DateField):
        yield problem(
            "E017", f"modified: {mirror.modified!r} holds no date.", "Name a DateTimeField or DateField."
        )


def _column_problems(mirror: Mirror, found: list[Column], problem: _Make) -> Iterator[Problem]:
    """Columns that the API, or each other, stand in the way of."""
    sources = {column.source for column in found}
    for option, names in (("columns", mirror.columns), ("reads", mirror.reads)):
        for name in names:
            if name not in sources and not (option == "reads" and name == "get_queryset"):
                yield problem(
                    "E015",
                    f"{option}: {name!r} is not in fields.",
                    f"Use a name as it is written in fields: {', '.join(sorted(sources))}.",
                )
    seen: dict[str, Column] = {}
    for column in found:
        if _reserved(column.name):
            yield problem(
                "E015",
                f"{column.source!r} would be sent as {column.name!r}, a name that the warehouse uses itself.",
                f'Rename it: columns = {{"{column.source}": "..."}}.',
            )
        if column.name in seen:
            yield problem(
                "E015",
                f"{seen[column.name].source!r} and {column.source!r} are both sent as {column.name!r}.",
                f'Rename one of them: columns = {{"{column.source}": "..."}}.',
            )
        seen[column.name] = column
    if mirror.on_delete == "tombstone" and (mirror.deleted_column in seen or _reserved(mirror.deleted_column)):
        whose = "a column already" if mirror.deleted_column in seen else "a name that the warehouse uses itself"
        yield problem(
            "E018",
            f"deleted_column is {mirror.deleted_column!r}, {whose}.",
            "Set deleted_column to a name of its own.",
        )


def _reserved(column: str) -> bool:
    return column == "keys" or column in columns.SYSTEM_COLUMNS
