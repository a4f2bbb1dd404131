"""Where batches go, chosen by ``RJMETRICS["BACKEND"]`` as Django's mail backends are by EMAIL_BACKEND."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import settings
from .base import BaseBackend, Batch

__all__ = ["BaseBackend", "Batch", "get_backend"]


def get_backend(*, sandbox: bool = False) -> BaseBackend:
    """A new, unopened instance of the BACKEND setting's class, for one run.

    ``sandbox`` sends it to the sandbox, as SANDBOX does for all. Raises ImproperlyConfigured for a path that
    leads to no backend.
    """
    try:
        backend_class = import_string(settings.BACKEND)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"RJMETRICS['BACKEND'] is {settings.BACKEND!r}, which can't be imported: {error}."
        ) from error
    backend: BaseBackend = backend_class(sandbox=sandbox or settings.SANDBOX)
    return backend
