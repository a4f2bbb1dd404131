"""The app: finds the project's mirrors and registers the checks."""

from __future__ import annotations

import celery
from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class RJMetricsConfig(AppConfig):
    name = "django_rjmetrics"
    verbose_name = _("RJMetrics")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # The tasks are imported for ALWAYS_EAGER, which runs them in processes that are no workers.
        from . import checks, tasks, wakeup  # noqa: F401
        from .registry import registry

        checks.register()
        app = celery.current_app._get_current_object()  # type: ignore[attr-defined]
        # Not Celery's unconfigured fallback, which is what is current before the project's app is imported.
        if app.set_as_current:
            wakeup.use_app(app)
        autodiscover_modules("mirrors", register_to=registry)
