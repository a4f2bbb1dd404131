"""What is wrong with a mirror's declaration, told before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from . import columns
from .columns import Column, Problem
from .mirror import Mirror

_Make = Callable[[str, str, str], Problem]

SECRET_WORDS = frozenset({"password", "passwd", "token", "secret", "key", "apikey"})


def mirror_problems(mirror: Mirror) -> list[Problem]:
    """The mistakes in a mirror, the first to mend first; none for one that can be sent."""
    return list(_problems(mirror))


def secret_columns(mirror: Mirror) -> list[str]:
    """The names in ``fields`` that are called like something that doesn't belong in a warehouse."""
    return [name for name in columns.sources(mirror) if SECRET_WORDS & set(re.split(r"_+", name.lower()))]


def _problems(mirror: Mirror) -> Iterator[Problem]:
    name = type(mirror).__name__

    def problem(check_id: str, message: str, hint: str) -> Problem:
        return Problem(f"rjmetrics.{check_id}", f"{name} ({mirror.label}): {message}", hint)

    if not columns.TABLE_NAME.fullmatch(mirror.table_name):
        yield problem(
            "E012",
            f"the table name {mirror.table_name!r} is not one the API takes.",
            "Set table to a name of letters, digits and underscores.",
        )
    if not mirror.fields or (isinstance(mirror.fields, str) and mirror.fields != "__all__"):
        yield problem(
            "E010",
            "fields is missing." if not mirror.fields else f"fields is the string {mirror.fields!r}.",
            'List the fields to send, or say fields = "__all__".',
        )
        return
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
    found: list[Column] = []
    yield from _name_problems(mirror, problem)
    try:
        sources = columns.sources(mirror)
    except FieldDoesNotExist:
        return
    for source in sources:
        column = columns.resolve(mirror, source, annotations)
        if isinstance(column, str):
            yield problem("E011", f"fields: {column}.", "Correct the name, or drop it from fields.")
            continue
        found.append(column)
        if column.method and _is_field(mirror.model, source):
            yield problem(
                "E014",
                f"the method {source}() has the name of a model field.",
                "Rename the method, and the column with columns if need be.",
            )
    yield from _column_problems(mirror, found, problem)


def _concrete(model: type[models.Model]) -> type[models.Model]:
    assert model._meta.concrete_model is not None
    return model._meta.concrete_model


def _is_field(model: type[models.Model], name: str) -> bool:
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _name_problems(mirror: Mirror, problem: _Make) -> Iterator[Problem]:
    """Names, outside ``fields``, that stand for nothing."""
    concrete = {name for field in mirror.model._meta.concrete_fields for name in (field.name, field.attname)}
    choices = ", ".join(sorted(field.name for field in mirror.model._meta.concrete_fields))
    for option in ("fields", "exclude", "keys"):
        given = getattr(mirror, option)
        if isinstance(given, str) and given != "__all__":
            yield problem("E015", f"{option} is a string.", f"Make it a list: {option} = [{given!r}].")
            return
    if mirror.exclude and mirror.fields != "__all__":
        yield problem("E015", "exclude goes with fields = '__all__' only.", "Leave the names out of fields.")
    for name in mirror.exclude:
        if name not in concrete:
            yield problem("E015", f"exclude: {name!r} is not a field.", f"The fields are: {choices}.")
    for name in mirror.keys:
        if name not in concrete:
            yield problem("E016", f"keys: {name!r} is not a field.", f"The fields are: {choices}.")
    if mirror.modified is not None and mirror.modified not in concrete:
        yield problem("E017", f"modified: {mirror.modified!r} is not a field.", f"The fields are: {choices}.")
    elif mirror.modified is not None:
        field = mirror.model._meta.get_field(mirror.modified)
        if not isinstance(field, (models.DateTimeField, models.DateField)):
            yield problem(
                "E017", f"modified: {mirror.modified!r} holds no date.", "Name a DateTimeField or DateField."
            )
    if mirror.on_delete not in {"ignore", "tombstone"}:
        yield problem(
            "E018", f"on_delete is {mirror.on_delete!r}.", 'Set it to "ignore" or "tombstone".'
        )
    for name, reads in mirror.reads.items():
        for read in [reads] if isinstance(reads, str) else reads:
            if read not in concrete:
                yield problem("E015", f"reads[{name!r}]: {read!r} is not a field.", f"The fields are: {choices}.")


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
    for name in columns.key_sources(mirror):
        if any(column.source == name and column.method for column in found):
            yield problem("E016", f"keys: {name!r} is a method.", "A remote key is made of fields.")
    seen: dict[str, Column] = {}
    for column in found:
        if column.name == "keys" or column.name in columns.SYSTEM_COLUMNS:
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
    if mirror.on_delete == "tombstone" and mirror.deleted_column in seen:
        yield problem(
            "E018",
            f"deleted_column is {mirror.deleted_column!r}, which is a column already.",
            "Set deleted_column to a name of its own.",
        )
