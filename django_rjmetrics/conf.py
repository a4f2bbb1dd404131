"""The project's settings: ``settings.RJMETRICS``, typed, read at each use so that ``override_settings`` works."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings


class Settings:
    """What ``settings.RJMETRICS`` may hold; each attribute's value is its default."""

    CLIENT_ID: int | None = None
    API_KEY: str | None = None
    BACKEND: str = "django_rjmetrics.backends.http.Backend"
    SANDBOX: bool = False
    API_URL: str = "https://connect.rjmetrics.com/v2"
    SANDBOX_URL: str = "https://sandbox-connect.rjmetrics.com/v2"
    ALLOW_HTTP: bool = False
    ENABLED: bool = True
    CELERY: bool = True
    BATCH_SIZE: int = 100
    MAX_BODY_BYTES: int = 1_048_576
    CONCURRENCY: int = 4
    TIMEOUT: float = 10
    LINGER: float = 1.0

    def __getattribute__(self, name: str) -> Any:
        if name.isupper():
            given = getattr(django_settings, "RJMETRICS", None)
            if isinstance(given, dict) and name in given:
                return given[name]
        return super().__getattribute__(name)

    @property
    def lease_seconds(self) -> float:
        """How long a claim holds its keys. A POST starts only while a whole TIMEOUT of it is left, so three
        of them let a page's later batches start without a renewal each."""
        return 3.0 * self.TIMEOUT


NAMES = frozenset(name for name in vars(Settings) if name.isupper())

settings = Settings()
