"""The shop's site. Celery's app is imported here so that every process of the site publishes through it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
