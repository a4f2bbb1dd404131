"""The services that tests use where they answer: databases and brokers on their standard local ports, or where
an environment variable names them.

``RJMETRICS_TEST_SERVICES`` is ``auto`` (use what answers, skip the rest and say so), ``none``, or ``required``
(a missing service is a failure).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

MODE = os.environ.get("RJMETRICS_TEST_SERVICES", "auto")
if MODE not in {"auto", "none", "required"}:
    raise SystemExit(f"RJMETRICS_TEST_SERVICES is {MODE!r}: set it to auto, none or required.")


@dataclass(frozen=True)
class Service:
    name: str
    variable: str
    default: str

    @property
    def url(self) -> str:
        return os.environ.get(self.variable, self.default)

    def answers(self) -> bool:
        parts = urlsplit(self.url)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=3).close()
        except OSError:
            return False
        return True

    def missing(self) -> str | None:
        """Why it is not to be used, or None."""
        if MODE == "none":
            return f"{self.name}: RJMETRICS_TEST_SERVICES is none"
        if not self.answers():
            return f"{self.name} does not answer (set {self.variable} to where it does)"
        return None


POSTGRESQL = Service("PostgreSQL", "RJMETRICS_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
MARIADB = Service("MariaDB", "RJMETRICS_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")
REDIS = Service("Redis", "RJMETRICS_TEST_REDIS", "redis://127.0.0.1:6379/0")
RABBITMQ = Service("RabbitMQ", "RJMETRICS_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")

DATABASES = {"postgresql": POSTGRESQL, "mariadb": MARIADB}
BROKERS = {"redis": REDIS, "rabbitmq": RABBITMQ}

ENGINES = {"postgresql": "django.db.backends.postgresql", "mariadb": "django.db.backends.mysql"}


def database_settings(name: str) -> dict[str, Any]:
    """Django's settings of the named database."""
    parts = urlsplit(DATABASES[name].url)
    return {
        "ENGINE": ENGINES[name],
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.lstrip("/"),
    }
