"""Keeps a Django project's models mirrored in the RJMetrics / Magento BI data warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture.switches import ignore_changes
from .mirror import Mirror
from .registry import register, registry

if TYPE_CHECKING:
    from .capture.explicit import mark

__all__ = ["Mirror", "ignore_changes", "mark", "register", "registry"]


def __getattr__(name: str) -> Any:
    # The app's models can't be imported with the root, which INSTALLED_APPS imports before any model.
    if name == "mark":
        from .capture.explicit import mark

        return mark
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
