"""Each system check by equality, mend included; and none that raises, whatever the settings hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from celery.beat import ScheduleEntry
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models
from django.test.utils import isolate_apps

from django_rjmetrics import Mirror
from django_rjmetrics.backends import BaseBackend
from django_rjmetrics.checks import check_mirrors, check_settings, check_surroundings
from tests.library.models import Author, Book, Code, Token

ROOT = Path(__file__).parent.parent
KEY = "k3y-that/must+not=leak"
GOOD = {"CLIENT_ID": 12, "API_KEY": KEY}
SETTINGS_HINT = (
    "The settings are: ALLOW_HTTP, API_KEY, API_URL, BACKEND, BATCH_SIZE, CELERY, CLIENT_ID, CONCURRENCY, "
    "ENABLED, LINGER, MAX_BODY_BYTES, SANDBOX, SANDBOX_URL, TIMEOUT."
)
BACKEND_HINT = 'Set it right, or RJMETRICS["ENABLED"] to False where nothing is to be sent.'
PLAIN_HTTP = (
    "RJMETRICS['API_URL'] is plain http, which would show the API key to the network: "
    "use https, or set ALLOW_HTTP."
)


def all_of_ours() -> list[checks.CheckMessage]:
    return [*check_settings(), *check_mirrors(), *check_surroundings()]


class Exploding(BaseBackend):
    def open(self) -> None:
        raise RuntimeError(KEY)


class Picky(BaseBackend):
    def open(self) -> None:
        raise ImproperlyConfigured("PICKY_URL is missing.")


@pytest.mark.parametrize("given", ["x", ["CLIENT_ID"], 5, None])
def test_settings_that_are_no_dictionary(settings: Any, given: Any):
    settings.RJMETRICS = given
    found = check_settings()
    if given is None:
        assert [message.id for message in found] == ["rjmetrics.E003"]
        return
    assert found == [
        checks.Error(
            "RJMETRICS is not a dictionary.",
            hint='Write RJMETRICS = {"CLIENT_ID": ..., "API_KEY": ...}.',
            id="rjmetrics.E001",
        )
    ]


def test_settings_that_are_good(settings: Any):
    settings.RJMETRICS = GOOD
    assert check_settings() == []


@pytest.mark.parametrize("name", ["API_KEYS", "client_id", "", 5])
def test_settings_that_do_not_exist(settings: Any, name: Any):
    settings.RJMETRICS = {**GOOD, name: "x"}
    assert check_settings() == [
        checks.Error(f"RJMETRICS has no setting {name!r}.", hint=SETTINGS_HINT, id="rjmetrics.E001")
    ]


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("BATCH_SIZE", [0, 101, 1.5, "100", None, True], "an integer from 1 to 100, the API's limit"),
        ("MAX_BODY_BYTES", [0, 1023, 5_242_881, None], "an integer from 1024 to 5242880"),
        ("CONCURRENCY", [0, 65, "4"], "an integer from 1 to 64"),
        ("TIMEOUT", [0, -1, 301, float("nan"), float("inf"), "10", None, True], "seconds, from 0.1 to 300"),
        ("LINGER", [-1, 301, float("nan"), None, [1]], "seconds, from 0 to 300"),
    ],
)
def test_settings_out_of_range(settings: Any, name: str, values: list[Any], what: str):
    for value in values:
        settings.RJMETRICS = {**GOOD, name: value}
        assert check_settings() == [
            checks.Error(f"RJMETRICS[{name!r}] is {value!r}.", hint=f"Set it to {what}.", id="rjmetrics.E002")
        ]


@pytest.mark.parametrize(
    "given",
    [
        {"BATCH_SIZE": 1},
        {"BATCH_SIZE": 100},
        {"TIMEOUT": 0.1},
        {"TIMEOUT": 300},
        {"LINGER": 0},
        {"CONCURRENCY": 64},
    ],
)
def test_settings_at_the_edge_of_their_range(settings: Any, given: dict[str, Any]):
    settings.RJMETRICS = {**GOOD, **given}
    assert check_settings() == []


@pytest.mark.parametrize("name", ["SANDBOX", "ALLOW_HTTP", "ENABLED", "CELERY"])
@pytest.mark.parametrize("value", ["False", 0, None])
def test_settings_that_are_no_switch(settings: Any, name: str, value: Any):
    settings.RJMETRICS = {**GOOD, name: value}
    assert check_settings() == [
        checks.Error(f"RJMETRICS[{name!r}] is {value!r}.", hint="Set it to True or False.", id="rjmetrics.E002")
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"CLIENT_ID": None}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        ({"CLIENT_ID": 0}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        ({"CLIENT_ID": -1}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        ({"CLIENT_ID": "12"}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        pytest.param(
            {"CLIENT_ID": True},
            "RJMETRICS['CLIENT_ID'] must be your positive client id.",
            marks=pytest.mark.xfail(reason="the http backend takes True for 1"),
        ),
        ({"API_KEY": None}, "RJMETRICS['API_KEY'] must be your Data Import API key."),
        ({"API_KEY": ""}, "RJMETRICS['API_KEY'] must be your Data Import API key."),
        ({"API_KEY": "  "}, "RJMETRICS['API_KEY'] must be your Data Import API key."),
        ({"API_KEY": b"key"}, "RJMETRICS['API_KEY'] must be your Data Import API key."),
        ({"API_URL": "http://example.com/v2"}, PLAIN_HTTP),
        ({"API_URL": "http://localhost.example.com/v2"}, PLAIN_HTTP),
        ({"API_URL": "http://127.0.0.1.example.com/v2"}, PLAIN_HTTP),
        ({"API_URL": "http://10.0.0.1/v2"}, PLAIN_HTTP),
        ({"API_URL": "connect.rjmetrics.com/v2"}, "RJMETRICS['API_URL'] is not an http(s) URL."),
        ({"API_URL": "ftp://connect.rjmetrics.com/v2"}, "RJMETRICS['API_URL'] is not an http(s) URL."),
        ({"API_URL": ""}, "RJMETRICS['API_URL'] is not an http(s) URL."),
        ({"API_URL": "https://"}, "RJMETRICS['API_URL'] is not an http(s) URL."),
        (
            {"API_URL": f"https://connect.rjmetrics.com/v2?apikey={KEY}"},
            "RJMETRICS['API_URL'] must be a bare address, without a query, a fragment or a user.",
        ),
        (
            {"SANDBOX": True, "SANDBOX_URL": "https://me:hunter2@sandbox/v2"},
            "RJMETRICS['SANDBOX_URL'] must be a bare address, without a query, a fragment or a user.",
        ),
        (
            {"BACKEND": "nowhere.Backend"},
            "RJMETRICS['BACKEND'] is 'nowhere.Backend', which can't be imported: No module named 'nowhere'.",
        ),
        (
            {"BACKEND": "Backend"},
            "RJMETRICS['BACKEND'] is 'Backend', which can't be imported: Backend doesn't look like a module path.",
        ),
        ({"BACKEND": "tests.test_checks.Picky"}, "PICKY_URL is missing."),
        # Of what somebody's own backend raises only the type is told: the text may hold the key.
        (
            {"BACKEND": "tests.test_checks.Exploding"},
            "RJMETRICS['BACKEND'] is 'tests.test_checks.Exploding', which does not open: RuntimeError.",
        ),
    ],
)
def test_backend_that_can_not_be_used(settings: Any, given: dict[str, Any], message: str):
    settings.RJMETRICS = {**GOOD, **given}
    assert check_settings() == [checks.Error(message, hint=BACKEND_HINT, id="rjmetrics.E003")]


@pytest.mark.parametrize(
    "given",
    [
        {"API_URL": 5},
        {"API_URL": None},
        {"API_URL": b"https://connect.rjmetrics.com"},
        pytest.param(
            {"API_URL": "https://[::1/v2"}, marks=pytest.mark.xfail(reason="urlsplit() raises ValueError")
        ),
        {"BACKEND": 5},
        {"BACKEND": None},
        {"BACKEND": "os.path"},
        {"BACKEND": "os.getcwd"},
    ],
)
def test_backend_that_makes_no_sense_is_one_error(settings: Any, given: dict[str, Any]):
    settings.RJMETRICS = {**GOOD, **given}
    [found] = check_settings()
    assert found.id == "rjmetrics.E003"
    assert found.msg.startswith(f"RJMETRICS['{next(iter(given))}'] is ")
    assert found.hint == BACKEND_HINT


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8765/v2",
        "http://127.1.2.3/v2",
        "http://localhost/v2",
        "http://LOCALHOST:80/v2",
        "http://[::1]:8765/v2",
        "https://example.com/v2/",
    ],
)
def test_backend_may_be_loopback_or_https(settings: Any, url: str):
    settings.RJMETRICS = {**GOOD, "API_URL": url}
    assert check_settings() == []


def test_backend_may_be_plain_http_if_allowed(settings: Any):
    settings.RJMETRICS = {**GOOD, "API_URL": "http://example.com/v2", "ALLOW_HTTP": True}
    assert check_settings() == []


def test_backend_is_of_no_concern_where_nothing_is_sent(settings: Any):
    settings.RJMETRICS = {"ENABLED": False, "BACKEND": "nowhere.Backend"}
    assert check_settings() == []
    settings.RJMETRICS = {"BACKEND": "django_rjmetrics.backends.locmem.Backend"}
    assert check_settings() == []


@pytest.mark.parametrize(
    "value", ["x", 5, None, b"\xff", [], {}, float("nan"), object(), KEY, "http://[", "\ud800"]
)
def test_checks_never_raise_and_never_tell_the_key(settings: Any, value: Any):
    names = [*GOOD, "BACKEND", "SANDBOX", "API_URL", "SANDBOX_URL", "ALLOW_HTTP", "ENABLED", "CELERY"]
    for name in names:
        settings.RJMETRICS = {**GOOD, name: value}
        for message in all_of_ours():
            assert name == "BACKEND" or value == KEY or KEY not in f"{message.msg} {message.hint}"
    settings.RJMETRICS = dict.fromkeys([*names, "TIMEOUT", "LINGER", "BATCH_SIZE", "CONCURRENCY"], value)
    assert all_of_ours()


# Mirrors: the mistakes are test_validation's; here they become messages.


def test_mirror_problem_is_an_error_of_its_class(mirror: Any):
    made = mirror(Code, fields=["note"], keys=["nomber"])
    assert check_mirrors() == [
        checks.Error(
            "TestMirror (library.Code): keys: 'nomber' is not a field.",
            hint="The fields are: code, note, number.",
            obj=type(made),
            id="rjmetrics.E016",
        )
    ]


def test_mirrors_of_one_table(mirror: Any):
    mirror(Author, fields=["name"], table="things")
    second, third = mirror(Book, fields=["title"], table="things"), mirror(Code, fields=["note"], table="things")
    assert check_mirrors() == [
        checks.Error(
            f"library.Author and {made.label} are both mirrored to the table 'things'.",
            hint="Set table in one of the mirrors.",
            obj=type(made),
            id="rjmetrics.E013",
        )
        for made in (second, third)
    ]


@pytest.mark.parametrize("table", [5, None, ["x"], b"x"])
def test_mirrors_of_tables_that_make_no_sense(mirror: Any, table: Any):
    mirror(Book, fields=["title"], table=table)
    assert [message.id for message in check_mirrors()] == ["rjmetrics.E012"]


def test_mirror_of_unsupported_database(mirror: Any, settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(
        connections.settings, "odd", {**connections["default"].settings_dict, "ENGINE": "django.db.backends.dummy"}
    )
    settings.DATABASE_ROUTERS = [
        type("Router", (), {"db_for_write": lambda self, model, **hints: "odd" if model is Book else None})()
    ]
    made = mirror(Book, fields=["title"])
    try:
        assert check_mirrors() == [
            checks.Error(
                "TestMirror (library.Book): the database 'odd' is of the kind 'unknown', "
                "where changes can't be marked.",
                hint="These can: sqlite, postgresql, mysql. Unregister the mirror.",
                obj=type(made),
                id="rjmetrics.E020",
            )
        ]
    finally:
        if hasattr(connections._connections, "odd"):
            delattr(connections._connections, "odd")


def test_mirror_that_sends_a_secret(mirror: Any):
    made = mirror(Token, fields="__all__")
    assert check_mirrors() == [
        checks.Warning(
            "TestMirror (library.Token) sends what looks like a secret: password.",
            hint="Drop it from fields or exclude it; if it is none, silence rjmetrics.W001.",
            obj=type(made),
            id="rjmetrics.W001",
        )
    ]


@isolate_apps("tests.library")
def test_mirror_that_sends_several_secrets(mirror: Any):
    class Account(models.Model):
        api_key = models.TextField()
        token = models.TextField()
        name = models.TextField()

        class Meta:
            app_label = "library"

    mirror(Account, fields="__all__")
    assert [message.msg for message in check_mirrors()] == [
        "TestMirror (library.Account) sends what looks like a secret: api_key, token."
    ]


def test_mirror_with_double_underscore_in_its_table(mirror: Any):
    made = mirror(Book, fields=["title"], table="my__books")
    assert check_mirrors() == [
        checks.Warning(
            "TestMirror (library.Book): the table name 'my__books' has a double underscore.",
            hint="The warehouse was seen to trip over these: use single ones.",
            obj=type(made),
            id="rjmetrics.W004",
        )
    ]


def test_mirror_whose_keys_may_be_equal(mirror: Any):
    made = mirror(Book, fields=["title"], keys=["author", "isbn"])
    assert check_mirrors() == [
        checks.Warning(
            "TestMirror (library.Book): nothing keeps the remote key (author, isbn) unique.",
            hint="Rows with equal keys overwrite each other in the warehouse: constrain the fields to be unique.",
            obj=type(made),
            id="rjmetrics.W005",
        )
    ]


def test_mirror_that_is_sound(mirror: Any):
    mirror(Book, type("BookMirror", (Mirror,), {"fields": ["title", "author__name"]}))
    assert check_mirrors() == []


# The surroundings


@pytest.fixture
def celery_app() -> Iterator[celery.Celery]:
    """A Celery app without a schedule, as the project's."""
    previous = celery.current_app._get_current_object()
    app = celery.Celery("checks", set_as_current=False)
    app.conf.beat_schedule = {}
    app.set_current()
    yield app
    previous.set_current()


NO_SWEEP = checks.Warning(
    "No sweep is scheduled: what is pending when a process dies would wait for the next save.",
    hint="Have Celery beat run 'rjmetrics.flush' every minute (CELERY_BEAT_SCHEDULE). If cron runs "
    "rjmetrics_flush, rjmetrics_flush --watch is a service or beat's schedule is elsewhere, "
    "silence rjmetrics.W002.",
    id="rjmetrics.W002",
)


@pytest.mark.parametrize(
    "schedule",
    [{}, None, {"sweep": {"task": "other.task", "schedule": 60.0}}, {"sweep": {}}, {"sweep": None}, ["x"]],
)
def test_sweep_that_is_missing(settings: Any, celery_app: celery.Celery, schedule: Any):
    settings.RJMETRICS = GOOD
    celery_app.conf.beat_schedule = schedule
    assert NO_SWEEP in check_surroundings()


@pytest.mark.parametrize("switches", [{"CELERY": False}, {"ENABLED": False}])
def test_sweep_that_is_not_needed(settings: Any, celery_app: celery.Celery, switches: dict[str, Any]):
    settings.RJMETRICS = {**GOOD, **switches}
    assert NO_SWEEP not in check_surroundings()


@pytest.mark.parametrize("entry", [{"task": "rjmetrics.flush"}, "a ScheduleEntry"])
def test_sweep_that_is_scheduled(settings: Any, celery_app: celery.Celery, entry: Any):
    if not isinstance(entry, dict):
        entry = ScheduleEntry(name="sweep", task="rjmetrics.flush", schedule=60.0, app=celery_app)
    settings.RJMETRICS = GOOD
    celery_app.conf.beat_schedule = {"other": {"task": "x"}, "sweep": entry}
    assert NO_SWEEP not in check_surroundings()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, True),
        ({"transaction_mode": None}, True),
        ({"transaction_mode": "DEFERRED"}, True),
        ({"transaction_mode": "IMMEDIATE"}, False),
        ({"transaction_mode": "immediate"}, False),
        ({"transaction_mode": "EXCLUSIVE"}, False),
    ],
)
def test_sqlite_transactions(settings: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], told: bool):
    settings.RJMETRICS = GOOD
    connection = connections["default"]
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite alone")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    expected = checks.Warning(
        "The SQLite database 'default' starts its transactions as DEFERRED.",
        hint="A worker's commit makes others' fail with \"database is locked\": set "
        'OPTIONS = {"transaction_mode": "IMMEDIATE"}.',
        id="rjmetrics.W003",
    )
    assert check_surroundings() == ([expected] if told else [])


def test_sqlite_transactions_of_a_database_without_marks(settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.RJMETRICS = GOOD
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})
    settings.DATABASE_ROUTERS = [
        type("Router", (), {"allow_migrate": lambda self, db, app_label, **hints: False})()
    ]
    assert check_surroundings() == []


# The whole of it


PROJECT = """
from tests.settings import *
del RJMETRICS
"""
BARE = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django_rjmetrics"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


def manage_check(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "project_settings.py").write_text(text)
    paths = [str(tmp_path), str(ROOT), str(ROOT / "testproject")]
    return subprocess.run(
        [sys.executable, "-m", "django", "check"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DJANGO_SETTINGS_MODULE": "project_settings"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_command_of_project_without_rjmetrics(tmp_path: Path):
    done = manage_check(tmp_path, PROJECT)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert "(rjmetrics.E003) RJMETRICS['CLIENT_ID'] must be your positive client id." in done.stderr
    assert "1 issue (0 silenced)" in done.stderr


def test_check_command_of_project_without_rjmetrics_celery_or_mirrors(tmp_path: Path):
    done = manage_check(tmp_path, BARE)
    assert "Traceback" not in done.stderr
    assert "(rjmetrics.E003)" in done.stderr
    assert "(rjmetrics.W002)" in done.stderr
    assert "2 issues (0 silenced)" in done.stderr


def test_check_command_of_project_that_sends_nothing(tmp_path: Path):
    done = manage_check(tmp_path, BARE + 'RJMETRICS = {"ENABLED": False}\n')
    assert (done.returncode, done.stderr) == (0, "")
