"""Settings of the shop: SQLite, a broker of plain files, and the emulator in the warehouse's place.

``SHOP_VAR`` names the folder that all of it lives in, so that a demo leaves nothing behind.
"""

import os
from pathlib import Path

VAR = Path(os.environ.get("SHOP_VAR", Path(__file__).resolve().parent.parent / "var"))
for folder in ("broker", "processed"):
    (VAR / folder).mkdir(parents=True, exist_ok=True)

SECRET_KEY = "for a demonstration only"
DEBUG = False
USE_TZ = True
TIME_ZONE = "America/New_York"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_rjmetrics",
    "shop",
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "shop.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}

RJMETRICS = {
    "CLIENT_ID": 1,
    "API_KEY": os.environ.get("RJMETRICS_API_KEY", "emulator"),
    "API_URL": os.environ.get("RJMETRICS_API_URL", "http://127.0.0.1:8765/v2"),
    "SANDBOX_URL": os.environ.get("RJMETRICS_SANDBOX_URL", "http://127.0.0.1:8765/sandbox/v2"),
}

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "filesystem://")
if CELERY_BROKER_URL == "filesystem://":
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(VAR / "broker"),
        "data_folder_out": str(VAR / "broker"),
        "processed_folder": str(VAR / "processed"),
        "control_folder": str(VAR / "broker"),
        "polling_interval": 0.2,
    }
CELERY_BEAT_SCHEDULE = {"sweep": {"task": "rjmetrics.flush", "schedule": 60.0}}
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "beat-schedule")
