"""Notices saves and deletes of mirrored models.

A save's mark belongs in the transaction of the row's write, in autocommit mode too, and there ``post_save`` comes
after the commit. So the one method of a model that writes its table's row is wrapped: the row and its mark
are one transaction, and nobody else's receiver is inside it. A delete's mark is made by ``post_delete``, which
Django sends before the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.db.models.signals import class_prepared, post_delete, post_save

from .. import keys, wakeup
from ..mirror import Mirror
from ..pending.marks import append
from .switches import capturing

# The mirrors of each concrete model: its own and its proxies'.
_mirrors: dict[type[Model], tuple[Mirror, ...]] = {}


def connect(mirror: Mirror) -> None:
    """Notice the saves and deletes of the mirror's model, of its proxies and of its multi-table children."""
    model = _concrete(mirror.model)
    if model not in _mirrors:
        _wrap_save_table(model)
        for sender in _family(model):
            _connect_sender(sender)
    _mirrors[model] = (*_mirrors.get(model, ()), mirror)


def disconnect(mirror: Mirror) -> None:
    """Undo ``connect()``."""
    model = _concrete(mirror.model)
    left = tuple(other for other in _mirrors.get(model, ()) if other is not mirror)
    if left:
        _mirrors[model] = left
    elif _mirrors.pop(model, None):
        _unwrap_save_table(model)
        for sender in _family(model):
            if not any(issubclass(sender, other) for other in _mirrors):
                post_save.disconnect(_saved, sender=sender)
                post_delete.disconnect(_deleted, sender=sender)


def mirrors_of(model: type[Model]) -> tuple[Mirror, ...]:
    """The mirrors that a row of the model, or of the model it is a proxy of, shows in."""
    return _mirrors.get(_concrete(model), ())


def _concrete(model: type[Model]) -> type[Model]:
    concrete = model._meta.concrete_model
    assert concrete is not None
    return concrete


def _family(model: type[Model]) -> Iterator[type[Model]]:
    yield model
    for child in model.__subclasses__():
        yield from _family(child)


def _connect_sender(sender: type[Model]) -> None:
    post_save.connect(_saved, sender=sender)
    post_delete.connect(_deleted, sender=sender)


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    # A proxy or child defined after the mirror was registered.
    if any(issubclass(sender, model) for model in _mirrors):
        _connect_sender(sender)


class_prepared.connect(_on_class_prepared)


def _wrap_save_table(model: type[Model]) -> None:
    own = vars(model).get("_save_table")

    def _save_table(
        self: Model,
        raw: bool = False,
        cls: type[Model] | None = None,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        # super() is looked up now, not at wrapping: a mirrored parent may be wrapped later.
        write = partial(own, self) if own else super(model, self)._save_table  # type: ignore[misc]
        arguments = (raw, cls, force_insert, force_update, using, update_fields)
        assert using is not None
        mirrors = [m for m in _mirrors[model] if m.shows(update_fields)] if cls is model and capturing() else []
        if not mirrors:
            return bool(write(*arguments))
        # No savepoint: a failing write leaves the caller's transaction as it would without us.
        with transaction.atomic(using=using, savepoint=False):
            updated = write(*arguments)
            assert model._meta.pk is not None
            key = keys.encode(getattr(self, model._meta.pk.attname))
            append(using, [(mirror.label, key, None) for mirror in mirrors])
        return bool(updated)

    _save_table.rjmetrics_own = own  # type: ignore[attr-defined]
    model._save_table = _save_table  # type: ignore[attr-defined]


def _unwrap_save_table(model: type[Model]) -> None:
    own = vars(model)["_save_table"].rjmetrics_own
    if own:
        model._save_table = own  # type: ignore[attr-defined]
    else:
        del model._save_table  # type: ignore[attr-defined]


def _saved(sender: type[Model], using: str, **kwargs: Any) -> None:
    if capturing():
        wakeup.after_commit(using)


def _deleted(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    mirrors = mirrors_of(sender)
    if not mirrors or not capturing():
        return
    key = keys.encode(instance.pk)
    append(using, [(mirror.label, key, mirror.key_columns(instance)) for mirror in mirrors])
    wakeup.after_commit(using)
