"""Settings are read at each use, and absent ones have their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from django_rjmetrics.conf import NAMES, Settings, settings

DEFAULTS = {
    "CLIENT_ID": None,
    "API_KEY": None,
    "BACKEND": "django_rjmetrics.backends.http.Backend",
    "SANDBOX": False,
    "API_URL": "https://connect.rjmetrics.com/v2",
    "SANDBOX_URL": "https://sandbox-connect.rjmetrics.com/v2",
    "ALLOW_HTTP": False,
    "ENABLED": True,
    "CELERY": True,
    "BATCH_SIZE": 100,
    "MAX_BODY_BYTES": 1_048_576,
    "CONCURRENCY": 4,
    "TIMEOUT": 10,
    "LINGER": 1.0,
}


@pytest.fixture
def project(settings: Any) -> Any:
    """Django's settings, under a name that the package's don't take."""
    return settings


@pytest.mark.parametrize("given", [{}, None, "x", [], 5])
def test_settings_defaults(project: Any, given: Any):
    project.RJMETRICS = given
    assert {name: getattr(settings, name) for name in NAMES} == DEFAULTS


def test_settings_without_rjmetrics(project: Any):
    del project.RJMETRICS
    assert {name: getattr(settings, name) for name in NAMES} == DEFAULTS


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_settings_given(project: Any, name: str):
    project.RJMETRICS = {name: "given"}
    assert getattr(settings, name) == "given"
    project.RJMETRICS = {name: None}
    assert getattr(settings, name) is None
    project.RJMETRICS = {}
    assert getattr(settings, name) == DEFAULTS[name]


def test_settings_that_do_not_exist(project: Any):
    project.RJMETRICS = {}
    with pytest.raises(AttributeError):
        settings.NONSENSE  # noqa: B018


def test_lease_outlasts_several_calls(project: Any):
    project.RJMETRICS = {"TIMEOUT": 7}
    assert settings.lease_seconds == 21


def test_settings_class_shows_the_defaults():
    assert {name: vars(Settings)[name] for name in NAMES} == DEFAULTS
