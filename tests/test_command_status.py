"""rjmetrics_status, in this process."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_rjmetrics import Mirror, registry
from django_rjmetrics.clock import SECOND, database_now
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.exceptions import Unavailable
from django_rjmetrics.management.commands.rjmetrics_status import _span
from django_rjmetrics.models import Lease, Mark, MirrorState
from django_rjmetrics.pending import states
from django_rjmetrics.testing import flush
from tests.library.models import Code

API_KEY = "k3y-that/must+not=leak"
LAST = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.timezone.utc)


def run(*arguments: str, code: int = 0, **options: Any) -> tuple[str, str]:
    """Standard output, and the message of an error with the exit code."""
    out = io.StringIO()
    told = ""
    if code:
        with pytest.raises(CommandError) as caught:
            call_command("rjmetrics_status", *arguments, stdout=out, **options)
        assert caught.value.returncode == code
        told = str(caught.value)
    else:
        call_command("rjmetrics_status", *arguments, stdout=out, **options)
    assert API_KEY not in out.getvalue() + told
    return out.getvalue(), told


class CodeMirror(Mirror):
    table = "codes"
    fields = ["number", "loud"]

    def loud(self, code: Code) -> str:
        if code.note == "bad":
            raise ValueError("no voice")
        return code.note.upper()


@pytest.fixture
def codes(warehouse: Emulator, mirror: Any) -> Emulator:
    """A mirror without rows."""
    mirror(Code, CodeMirror)
    return warehouse


def aged(seconds: float) -> None:
    Mark.objects.update(marked_at=database_now("default") - int(seconds * SECOND))


def test_status_of_an_idle_project(codes: Emulator):
    assert run() == (
        (
            "table      pending  oldest  in flight  rejected  last success  backing off\n"
            "customers        0       -          0         0             -            -\n"
            "purchases        0       -          0         0             -            -\n"
            "codes            0       -          0         0             -            -\n"
        ),
        "",
    )


def test_status_of_a_busy_project(codes: Emulator):
    for number in range(5):
        Code.objects.create(code=f"c{number}", number=number, note="bad" if number < 2 else "")
    flush()
    Code.objects.get(number=3).save()
    Code.objects.get(number=3).save()
    Code.objects.get(number=4).save()
    aged(7300)
    now = database_now("default")
    Lease.objects.create(mirror="library.Code", keys='["c3","c4"]', expires_at=now + 60 * SECOND)
    states.note_error("library.Code", "default", "the API was asleep")
    MirrorState.objects.update(last_success_at=LAST, last_error_at=LAST)
    MirrorState.objects.filter(mirror="library.Code").update(failures=3, resume_at=now + 100 * SECOND)
    out, _ = run()
    head, *_, row, error = out.splitlines()
    assert head == "table      pending  oldest  in flight  rejected         last success  backing off"
    assert row in {
        f"codes            2     2 h          2         2  2026-03-01 07:00:00        {left} s"
        for left in (99, 100)
    } | {"codes            2     2 h          2         2  2026-03-01 07:00:00        100 s"}
    assert error == "Last error of codes, 2026-03-01 07:00:00: the API was asleep"


def test_status_of_a_pause_that_is_everywhere(codes: Emulator, settings: Any):
    settings.RJMETRICS["API_KEY"] = "wrong-key"
    Code.objects.create(code="a", number=1)
    flush()
    out, _ = run()
    _, *rows, error = out.splitlines()
    assert len(rows) == 3
    assert all(row.endswith((" paused, 60 s", " paused, 59 s")) for row in rows)
    assert error.startswith("Last error of customers, purchases, codes, 20")
    assert ": the API answered 401: " in error
    assert "wrong-key" not in out


def test_status_of_a_pause_whose_probe_is_due(codes: Emulator):
    MirrorState.objects.create(mirror="*", failures=1, resume_at=1, paused=True)
    assert run()[0].splitlines()[1].endswith("            -       paused")


def test_status_of_a_back_off(codes: Emulator):
    states.back_off("library.Code", "default", Unavailable("asleep", retry_after=1000))
    assert all(row.endswith("  17 min") for row in run()[0].splitlines()[1:4])


def test_status_says_that_nothing_is_sent(codes: Emulator, settings: Any):
    settings.RJMETRICS["ENABLED"] = False
    assert run()[0].splitlines()[-1] == 'RJMETRICS["ENABLED"] is False: nothing is marked, nothing is sent.'


def test_status_without_mirrors(codes: Emulator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_registry", {})
    assert run() == ("No mirrors are registered: write a mirrors.py in one of your apps.\n", "")
    assert json.loads(run(format="json")[0]) == {"mirrors": []}


def test_status_as_json_is_one_object(codes: Emulator):
    Code.objects.create(code="a", number=1)
    result = json.loads(run("--format", "json")[0])
    assert list(result) == ["mirrors"]
    found = {row["table"]: row for row in result["mirrors"]}
    assert list(found) == ["customers", "purchases", "codes"]
    assert 0 <= found["codes"].pop("oldest_pending") < 60
    assert found["codes"] == {
        "mirror": "library.Code",
        "table": "codes",
        "database": "default",
        "pending": 1,
        "in_flight": 0,
        "rejected": 0,
        "last_success": None,
        "last_error": "",
        "last_error_at": None,
        "backing_off": 0.0,
        "paused": False,
    }


@pytest.mark.parametrize(("lag", "code"), [("59", 1), ("3600", 0), ("0.5", 1)])
@pytest.mark.parametrize("style", ["text", "json"])
def test_status_max_lag(codes: Emulator, lag: str, code: int, style: str):
    Code.objects.create(code="a", number=1)
    aged(60)
    out, told = run("--max-lag", lag, "--format", style, code=code)
    assert "codes" in out
    assert told in ({f"Pending for longer than {lag} s: codes ({age} s)." for age in (60, 61)} if code else {""})


def test_status_max_lag_with_nothing_pending(codes: Emulator):
    run("--max-lag", "0")


@pytest.mark.parametrize("text", ["", "-1", "nan", "ten"])
def test_status_max_lag_garbage(codes: Emulator, text: str):
    assert (
        run(f"--max-lag={text}", code=1)[1] == f"Error: argument --max-lag: {text!r} is not a number of 0 or more"
    )


def test_status_online(codes: Emulator):
    assert run("--online")[0].splitlines()[-1] == "Credentials: valid"
    assert json.loads(run("--online", format="json")[0])["credentials"] == "valid"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"API_KEY": "wrong-key"}, "the API answered 401: "),
        ({"CLIENT_ID": 8}, "the API answered 404: "),
        ({"API_URL": "http://127.0.0.1:9/v2"}, "the API can't be reached ("),
    ],
)
def test_status_online_with_wrong_credentials(codes: Emulator, settings: Any, given: dict[str, Any], why: str):
    settings.RJMETRICS = {**settings.RJMETRICS, **given}
    out, told = run("--online", code=1)
    assert out.splitlines()[-1].startswith(f"Credentials: {why}")
    assert told == "The credentials could not be confirmed."
    out, _ = run("--online", "--format", "json", code=1)
    assert json.loads(out)["credentials"].startswith(why)
    assert "wrong-key" not in out


def test_status_online_with_settings_that_make_no_sense(codes: Emulator, settings: Any):
    settings.RJMETRICS["CLIENT_ID"] = None
    assert run("--online", code=2)[1] == "RJMETRICS['CLIENT_ID'] must be your positive client id."


def test_status_without_the_app_s_tables(codes: Emulator):
    here, away = (connection.ops.quote_name(f"{Mark._meta.db_table}{end}") for end in ("", "_away"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {here} RENAME TO {away}")
    try:
        out, told = run(code=1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {away} RENAME TO {here}")
    assert out == ""
    assert told.startswith("The database failed: ")
    assert told.endswith(". Are all migrations applied (manage.py migrate)?")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.6, "1 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_span(seconds: float, text: str):
    assert _span(seconds) == text
