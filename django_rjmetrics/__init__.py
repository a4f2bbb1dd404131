"""Keeps a Django project's models mirrored in the RJMetrics / Magento BI data warehouse."""

from __future__ import annotations

from .capture.switches import ignore_changes
from .mirror import Mirror
from .registry import register, registry

__all__ = ["Mirror", "ignore_changes", "register", "registry"]
