"""The shop's settings, on the database that RJMETRICS_TEST_DATABASE names and in-memory parts elsewhere."""

from __future__ import annotations

import json
import os
import tempfile

os.environ.setdefault("SHOP_VAR", tempfile.mkdtemp(prefix="rjmetrics-tests-"))

from shopsite.settings import *  # noqa: F403
from shopsite.settings import CELERY_BEAT_SCHEDULE, INSTALLED_APPS, VAR

from tests import services

DATABASE = os.environ.get("RJMETRICS_TEST_DATABASE", "sqlite")
if DATABASE == "mariadb":
    import pymysql

    # Django asks for mysqlclient by version; PyMySQL is the same interface without a compiler.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()
if DATABASE == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": VAR / "tests.sqlite3",
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
            # A file: threads and worker processes of a test see the same data.
            "TEST": {"NAME": str(VAR / "tests.sqlite3")},
        }
    }
else:
    DATABASES = {"default": services.database_settings(DATABASE)}
# A worker process that a test starts uses the test's database, broker and emulator.
DATABASES["default"]["NAME"] = os.environ.get("RJMETRICS_TEST_DATABASE_NAME", DATABASES["default"]["NAME"])

INSTALLED_APPS = [*INSTALLED_APPS, "tests.library"]
CELERY_BROKER_URL = os.environ.get("RJMETRICS_TEST_BROKER", "memory://")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("RJMETRICS_TEST_QUEUE", "celery")
if CELERY_BROKER_URL != "filesystem://":
    CELERY_BROKER_TRANSPORT_OPTIONS = {}
CELERY_BEAT_SCHEDULE = dict(CELERY_BEAT_SCHEDULE)
RJMETRICS = {"CLIENT_ID": 1, "API_KEY": "emulator-key", "BACKEND": "django_rjmetrics.backends.locmem.Backend"}
RJMETRICS = json.loads(os.environ.get("RJMETRICS_TEST_SETTINGS", json.dumps(RJMETRICS)))
