"""The mirrors of a project, and the decorator that adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model

from .exceptions import AlreadyRegistered, NotRegistered
from .mirror import Mirror

MirrorClass = TypeVar("MirrorClass", bound=type[Mirror])


class MirrorRegistry:
    """Holds one mirror a model; ``registry`` is the one that capture and delivery use."""

    def __init__(self) -> None:
        # autodiscover_modules() puts this back when a mirrors.py fails half-way.
        self._registry: dict[type[Model], Mirror] = {}

    def register(self, model: type[Model], mirror_class: type[Mirror]) -> None:
        """Mirror ``model`` as ``mirror_class`` says, from now on.

        Raises AlreadyRegistered for a model that has a mirror, ImproperlyConfigured for an abstract or swapped
        model or for something that isn't a model and a Mirror.
        """
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise ImproperlyConfigured(f"register() takes a model, not {model!r}.")
        if not (isinstance(mirror_class, type) and issubclass(mirror_class, Mirror)):
            raise ImproperlyConfigured(
                f"The mirror of {model._meta.label} must be a subclass of django_rjmetrics.Mirror, "
                f"not {mirror_class!r}."
            )
        if model._meta.abstract:
            raise ImproperlyConfigured(f"{model.__name__} is abstract: register the models made from it.")
        if model._meta.swapped:
            raise ImproperlyConfigured(f"{model._meta.label} is swapped: register {model._meta.swapped} instead.")
        if model in self._registry:
            raise AlreadyRegistered(
                f"{model._meta.label} is registered already, with {type(self._registry[model]).__name__}: "
                "unregister() that one first."
            )
        # Imported here: capture needs the app's own models, which load after the package's root.
        from .capture import signals

        mirror = self._registry[model] = mirror_class(model)
        signals.connect(mirror)

    def unregister(self, model: type[Model]) -> None:
        """Stop mirroring ``model``; NotRegistered if it has no mirror."""
        if model not in self._registry:
            raise NotRegistered(f"{model._meta.label} has no mirror.")
        from .capture import signals

        signals.disconnect(self._registry.pop(model))

    def is_registered(self, model: type[Model]) -> bool:
        """Whether ``model`` itself has a mirror."""
        return model in self._registry

    def __iter__(self) -> Iterator[Mirror]:
        return iter(list(self._registry.values()))

    def get(self, name: str) -> Mirror | None:
        """The mirror called ``name``, a model's label (in any case) or a remote table; None if there is none."""
        for mirror in self:
            if name == mirror.table_name or name.lower() == mirror.model._meta.label_lower:
                return mirror
        return None


registry = MirrorRegistry()


def register(*models: type[Model]) -> Callable[[MirrorClass], MirrorClass]:
    """Class decorator: ``@register(Order)`` registers the mirror for each of the models."""
    if not models:
        raise ImproperlyConfigured("@register() takes at least one model.")

    def wrapper(mirror_class: MirrorClass) -> MirrorClass:
        for model in models:
            registry.register(model, mirror_class)
        return mirror_class

    return wrapper
