"""rjmetrics_flush, in this process."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from django_rjmetrics import Mirror
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.models import Mark, Rejection
from tests.library.models import Code

API_KEY = "k3y-that/must+not=leak"


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("rjmetrics_flush", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str, code: int, **options: Any) -> tuple[str, str, str]:
    """The message, and what was printed, of a run that fails with the exit code."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("rjmetrics_flush", *arguments, stdout=out, stderr=err, **options)
    assert caught.value.returncode == code
    told = (str(caught.value), out.getvalue(), err.getvalue())
    assert API_KEY not in "".join(told)
    return told


class CodeMirror(Mirror):
    table = "codes"
    fields = ["number", "loud"]

    def loud(self, code: Code) -> str:
        if code.note == "bad":
            raise ValueError("no voice")
        return code.note.upper()


@pytest.fixture
def codes(warehouse: Emulator, mirror: Any) -> Emulator:
    """Three rows that are pending."""
    mirror(Code, CodeMirror)
    for number in range(3):
        Code.objects.create(code=f"c{number}", number=number)
    return warehouse


def test_flush_sends_what_is_pending(codes: Emulator):
    assert run() == ("codes: 3 rows sent in 1 request; 0 rejected\nNothing is left pending.\n", "")
    assert codes.tables() == {"codes": 3}
    assert not Mark.objects.exists()


def test_flush_with_nothing_pending(codes: Emulator):
    run()
    assert run() == ("Nothing was pending.\n", "")
    assert codes.stats()["requests"] == 1


def test_flush_rejects_a_bad_record_and_says_why(codes: Emulator):
    Code.objects.filter(number=1).update(note="bad")
    told, out, err = refused(code=1)
    assert told == "1 rejected, 0 left pending."
    assert out == "codes: 2 rows sent in 1 request; 1 rejected\n"
    assert err == "codes: 1 rejected: loud() raised ValueError: no voice\n"


def test_flush_retry_rejected(codes: Emulator):
    Code.objects.filter(number=1).update(note="bad")
    refused(code=1)
    refused("--retry-rejected", code=1)
    assert Rejection.objects.count() == 1
    Code.objects.filter(number=1).update(note="good")
    assert run() == ("Nothing was pending.\n", "")
    assert run("--retry-rejected")[0] == (
        "codes: 1 rejected record to be sent again\n"
        "codes: 1 row sent in 1 request; 0 rejected\n"
        "Nothing is left pending.\n"
    )
    assert codes.tables() == {"codes": 3}
    assert not Rejection.objects.exists()


def test_flush_discard_rejected(codes: Emulator):
    Code.objects.update(note="bad")
    refused(code=1)
    assert run("--discard-rejected")[0] == "codes: 3 rejected records discarded\nNothing was pending.\n"
    assert not Rejection.objects.exists()
    assert codes.tables() == {}


def test_flush_retry_and_discard_exclude_each_other(codes: Emulator):
    told, _, _ = refused("--retry-rejected", "--discard-rejected", code=1)
    assert told == "Error: argument --discard-rejected: not allowed with argument --retry-rejected"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"API_KEY": "wrong-key"}, "the API answered 401: "),
        ({"API_URL": "http://127.0.0.1:9/v2"}, "the API can't be reached ("),
    ],
)
def test_flush_leaves_pending_what_it_can_not_send(
    codes: Emulator, settings: Any, given: dict[str, str], why: str
):
    settings.RJMETRICS = {**settings.RJMETRICS, **given}
    told, out, err = refused(code=1)
    assert told == "0 rejected, 3 left pending."
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith(f"codes: {why}")
    assert second.startswith(f"codes: 3 left pending: {why}")
    assert "wrong-key" not in err
    # And says so as long as it is left alone.
    told, _, err = refused(code=1)
    assert told == "0 rejected, 3 left pending."
    assert err.startswith(f"codes: 3 left pending: {why}")
    assert Mark.objects.count() == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ENABLED": False}, 'RJMETRICS["ENABLED"] is False: nothing is sent.'),
        ({"CLIENT_ID": 0}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        (
            {"LINGER": None},
            "RJMETRICS['LINGER'] is None. Set it to seconds, from 0 to 300. (rjmetrics.E002)",
        ),
    ],
)
def test_flush_with_settings_that_make_no_sense(codes: Emulator, settings: Any, given: dict[str, Any], told: str):
    settings.RJMETRICS = {**settings.RJMETRICS, **given}
    assert refused(code=2)[0] == told


def test_flush_inside_a_transaction(codes: Emulator):
    with transaction.atomic():
        told, _, _ = refused(code=2)
    assert told == "A transaction is open on 'default': flush and backfill run outside of any."


def test_flush_of_no_such_database(codes: Emulator):
    assert refused("--database", "x", code=2)[0] == "There is no database 'x'. The databases are: default."


def test_flush_without_the_app_s_tables(codes: Emulator):
    here, away = (connection.ops.quote_name(f"{Mark._meta.db_table}{end}") for end in ("", "_away"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {here} RENAME TO {away}")
    try:
        told, _, _ = refused(code=1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {away} RENAME TO {here}")
    assert told.startswith("The database failed: ")
    assert told.endswith(". Are all migrations applied (manage.py migrate)?")
    assert "\n" not in told


def test_flush_watch_sends_until_it_is_interrupted(
    codes: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.RJMETRICS["LINGER"] = 0
    rounds = iter(range(3))

    def sleep(seconds: float) -> None:
        if next(rounds) == 2:
            raise KeyboardInterrupt
        Code.objects.get(number=0).save()

    monkeypatch.setattr(time, "sleep", sleep)
    out, err = run("--watch")
    assert err == ""
    assert out == (
        "Watching for changes; Ctrl-C ends it.\n"
        "codes: 3 rows sent in 1 request; 0 rejected\n"
        "codes: 1 row sent in 1 request; 0 rejected\n"
        "codes: 1 row sent in 1 request; 0 rejected\n"
        "Stopped.\n"
    )


def test_flush_watch_tells_of_a_failing_database_once(codes: Emulator, monkeypatch: pytest.MonkeyPatch):
    rounds = iter(range(5))

    def sleep(seconds: float) -> None:
        if next(rounds) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    here, away = (connection.ops.quote_name(f"{Mark._meta.db_table}{end}") for end in ("", "_away"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {here} RENAME TO {away}")
    try:
        out, err = run("--watch")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {away} RENAME TO {here}")
    assert out.splitlines()[-1] == "Stopped."
    [line] = err.splitlines()
    assert line.startswith("The database 'default' failed: ")
