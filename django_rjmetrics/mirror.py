"""Mirror: how the rows of one model become the data points of one remote table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, Model, QuerySet

from . import columns as columns_module
from .clock import SECOND
from .columns import Column
from .exceptions import RecordError
from .keys import Key
from .values import Unsupported, encode, json_value

if TYPE_CHECKING:
    from .pending.claims import Marked

# SQLite gets an OR of composite keys, nested no deeper than 1000.
COMPOSITE_KEYS = 500


class Mirror:
    """Subclass it in an app's ``mirrors.py`` and register it for a model.

    Class attributes, each with its default:
        table: the remote table; "" is the app label, "_" and the model name.
        fields: field names, lookups (``customer__email``), annotations of ``get_queryset()`` and names of the
            mirror's own methods, or "__all__" for every column of the model. Required, never implied.
        exclude: fields left out of "__all__".
        columns: ``{field: column}`` renames; a column is otherwise named after the attname, "__" as "_".
        keys: the fields that form the remote key, unique and never changing; () is the primary key.
        modified: the date-time field that ``rjmetrics_backfill --since`` compares, or None.
        on_delete: "ignore" leaves a deleted record's row in the warehouse; "tombstone" replaces it by its keys
            and ``deleted_column``, and the API empties the rest.
        deleted_column: the column of a tombstone that says when the record was deleted.
        reads: ``{method, annotation or "get_queryset": [fields]}``: what these look at, so that
            ``save(update_fields=...)`` of other fields need not be sent.
    """

    table: ClassVar[str] = ""
    fields: ClassVar[Sequence[str] | Literal["__all__"] | None] = None
    exclude: ClassVar[Sequence[str]] = ()
    columns: ClassVar[Mapping[str, str]] = {}
    keys: ClassVar[Sequence[str]] = ()
    modified: ClassVar[str | None] = None
    on_delete: ClassVar[Literal["ignore", "tombstone"]] = "ignore"
    deleted_column: ClassVar[str] = "deleted_at"
    reads: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.label}>"

    @property
    def label(self) -> str:
        """The model's label, ``shop.Order``: the mirror's name in marks, commands and logs."""
        return self.model._meta.label

    @property
    def table_name(self) -> str:
        """The remote table's name."""
        return self.table or f"{self.model._meta.app_label}_{self.model._meta.model_name}"

    def get_queryset(self) -> QuerySet[Any]:
        """The rows to mirror; a row outside it counts as deleted.

        The default is every row, whatever the model's default manager hides. Override it to set the scope, to
        annotate, or to fetch what methods need with select_related() and prefetch_related().
        """
        return self.model._base_manager.all()

    # What follows is for the rest of the package.

    @cached_property
    def plan(self) -> Plan:
        """How to read the mirror; ImproperlyConfigured with the first mistake where there is one."""
        from .validation import mirror_problems

        for problem in mirror_problems(self):
            raise ImproperlyConfigured(f"{problem.message} {problem.hint} ({problem.id})")
        return Plan(self)

    def shows(self, update_fields: Iterable[str] | None) -> bool:
        """Whether a save of these fields (None: of all) can change a data point of the mirror."""
        if update_fields is None:
            return True
        try:
            local = self.plan.local
        except ImproperlyConfigured:
            # A check says so; the writer is not the one to be stopped by it.
            return True
        return local is None or not local.isdisjoint(update_fields)

    def key_columns(self, instance: Model) -> str | None:
        """The remote key's columns of an instance about to go, as JSON text; None if they follow from its
        primary key, or can't be told."""
        if not self.keys:
            return None
        try:
            columns = self.plan.key_columns
            values = {column.name: _convert(column, getattr(instance, column.path or "")) for column in columns}
            return encode(values).decode()
        except Exception:  # noqa: BLE001 - such as a deferred field of a row that is gone; the delete goes on
            return None

    def rows(self, using: str) -> QuerySet[Any]:
        """``get_queryset()`` on the database ``using``, unordered."""
        return self.get_queryset().using(using).order_by()

    def data_points(self, keys: Sequence[Key], using: str) -> Iterator[tuple[Key, bytes | RecordError]]:
        """The data points of the rows with these primary keys, as they are now, in one query a page.

        Yields (primary key, the point as JSON, or why there can't be one). Keys of rows that are not in scope
        are left out.
        """
        for page in self._pages(keys):
            yield from self.plan.points(self.rows(using).filter(pk__in=page))

    def _pages(self, keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
        """The keys as often as one query can ask for them: at once, but for composite ones."""
        size = COMPOSITE_KEYS if len(self.model._meta.pk_fields) > 1 else max(1, len(keys))
        return (keys[start : start + size] for start in range(0, len(keys), size))

    def tombstones(self, gone: Mapping[Key, Marked], using: str) -> Iterator[tuple[Key, bytes | RecordError]]:
        """The tombstones of records that are deleted or out of scope, as JSON, by primary key.

        Yields a RecordError where the remote key's values went with the row.
        """
        columns = self.plan.key_columns
        names = [column.name for column in columns]
        still_there: dict[Key, Sequence[Any]] = {}
        if self.keys:
            paths = [column.path or "" for column in columns]
            for page in self._pages(list(gone)):
                rows = self.model._base_manager.using(using).filter(pk__in=page)
                still_there |= {key: values for key, *values in rows.values_list("pk", *paths)}
        for key, item in gone.items():
            values: Sequence[Any]
            if not self.keys:
                values = key if isinstance(key, tuple) else (key,)
            elif key in still_there:
                values = still_there[key]
            elif item.tombstone_keys is not None:
                # parse_float: a Decimal stays exact.
                kept = json.loads(item.tombstone_keys, parse_float=Decimal)
                values = [kept.get(name) for name in names]
            else:
                yield key, RecordError(f"the values of {', '.join(names)} went with the deleted row")
                continue
            when = dt.datetime.fromtimestamp(item.until / SECOND, dt.timezone.utc)
            yield key, self.plan.tombstone([*values, when])


class Plan:
    """What a mirror's declaration comes to: accessors resolved once, so that the row loop only loops."""

    def __init__(self, mirror: Mirror) -> None:
        annotations = mirror.get_queryset().query.annotations
        self.columns: list[Column] = []
        for name in columns_module.sources(mirror):
            column = columns_module.resolve(mirror, name, annotations)
            assert isinstance(column, Column)
            self.columns.append(column)
        by_source = {column.source: column for column in self.columns}
        by_path = {column.path: column for column in self.columns if column.path}
        self.key_columns = [
            by_source.get(name) or by_path[columns_module.attname(mirror.model, name)]
            for name in columns_module.key_sources(mirror)
        ]
        self._point = _Encoder(self.columns, self.key_columns)
        deleted = Column(mirror.deleted_column, mirror.deleted_column, None, None, json_value, None)
        self.tombstone = _Encoder([*self.key_columns, deleted], self.key_columns)
        self._annotations = set(annotations)
        self.local = self._local_fields(mirror)

    def _local_fields(self, mirror: Mirror) -> frozenset[str] | None:
        parts = [column.local for column in self.columns]
        if type(mirror).get_queryset is not Mirror.get_queryset:
            scope = mirror.reads.get("get_queryset")
            parts.append(None if scope is None else columns_module.local_names(mirror.model, scope))
        if None in parts:
            return None
        return frozenset().union(*(part for part in parts if part is not None))

    def points(self, rows: QuerySet[Any]) -> Iterator[tuple[Key, bytes | RecordError]]:
        """(primary key, data point or RecordError) of each row of a queryset of the mirror."""
        if any(column.method for column in self.columns):
            return self._from_instances(rows)
        paths = [column.path or "" for column in self.columns]
        return ((key, self._point(values)) for key, *values in rows.values_list("pk", *paths).iterator())

    def _from_instances(self, rows: QuerySet[Any]) -> Iterator[tuple[Key, bytes | RecordError]]:
        # Lookups ride along as annotations: select_related() could clash with the user's only() or defer().
        # So do the columns that these may leave out: each would be a query a row.
        deferring = bool(rows.query.deferred_loading[0])
        aliases = {
            column.path: f"_rjmetrics_{position}"
            for position, column in enumerate(self.columns)
            if column.path and column.path not in self._annotations and (deferring or "__" in column.path)
        }
        rows = rows.annotate(**{alias: F(path) for path, alias in aliases.items()})
        getters = [(column.source, _getter(column, aliases)) for column in self.columns]
        for instance in rows:
            values: list[Any] = []
            try:
                for source, getter in getters:  # noqa: B007 - told below
                    values.append(getter(instance))
            except Exception as error:  # noqa: BLE001 - the user's method; it costs its own record only
                problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                yield instance.pk, RecordError(f"{source}() raised {problem}")
            else:
                yield instance.pk, self._point(values)


class _Encoder:
    """From a row's values, in the order of ``columns``, to the data point's JSON or a RecordError."""

    def __init__(self, columns: Sequence[Column], key_columns: Sequence[Column]) -> None:
        self._columns = columns
        self._names = [column.name for column in columns]
        self._keys = [column.name for column in key_columns]
        self._key_positions = [columns.index(column) for column in key_columns]
        self._conversions = [(i, column.convert) for i, column in enumerate(columns) if column.convert]

    def __call__(self, values: list[Any]) -> bytes | RecordError:
        try:
            for position, convert in self._conversions:
                values[position] = convert(values[position])
            for position in self._key_positions:
                if values[position] is None:
                    return RecordError(f"the key column {self._names[position]} is null")
            return encode({"keys": self._keys, **dict(zip(self._names, values, strict=True))})
        except Exception:  # noqa: BLE001 - told apart column by column, to name the culprit
            return self._culprit(values)

    def _culprit(self, values: list[Any]) -> RecordError:
        for column, value in zip(self._columns, values, strict=True):
            try:
                encode(_convert(column, value))
            except Unsupported as error:
                return RecordError(f"{column.name}: a value of type {error} can't be sent")
            except Exception as error:  # noqa: BLE001 - a third-party field may raise anything
                return RecordError(f"{column.name}: this {type(value).__qualname__} can't be sent: {_why(error)}")
        return RecordError("the record can't be written as JSON")


def _why(error: Exception) -> str:
    # A UnicodeEncodeError quotes the text it failed on; warehouse users may not be meant to see it.
    return error.reason if isinstance(error, UnicodeEncodeError) else type(error).__name__


def _convert(column: Column, value: Any) -> Any:
    return column.convert(value) if column.convert else value


def _getter(column: Column, aliases: Mapping[str, str]) -> Callable[[Any], Any]:
    if column.method:
        return column.method
    name = aliases.get(column.path or "", column.path or "")
    return lambda instance: getattr(instance, name)
