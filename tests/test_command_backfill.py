"""rjmetrics_backfill, in this process."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from shop.models import Customer

from django_rjmetrics import Mirror
from django_rjmetrics.emulator import Emulator
from django_rjmetrics.management.commands.rjmetrics_backfill import moment
from django_rjmetrics.models import Lease, Mark, MirrorState, Rejection
from tests.library.models import Author, Book, Code, Place

API_KEY = "k3y-that/must+not=leak"


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("rjmetrics_backfill", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str, code: int, **options: Any) -> str:
    """The message of a run that fails with the exit code."""
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    assert caught.value.returncode == code
    assert API_KEY not in str(caught.value)
    return str(caught.value)


class CodeMirror(Mirror):
    table = "codes"
    fields = ["number", "loud"]

    def loud(self, code: Code) -> str:
        if code.note == "bad":
            raise ValueError("no voice")
        return code.note.upper()


@pytest.fixture
def codes(warehouse: Emulator, mirror: Any) -> Emulator:
    """Five rows, not one mark."""
    Code.objects.bulk_create(Code(code=f"c{number}", number=number, note="n") for number in range(5))
    mirror(Code, CodeMirror)
    Mark.objects.all().delete()
    return warehouse


def test_backfill_sends_every_row(codes: Emulator):
    out, err = run("codes")
    assert codes.rows("codes") == [{"code": f"c{number}", "number": number, "loud": "N"} for number in range(5)]
    assert err == ""
    first, second = out.splitlines()
    assert first == f"5 rows of library.Code, to the table codes at {codes.url.partition('//')[2]}"
    assert second.startswith("codes: 5 rows sent in 1 request, ")
    assert second.endswith(" rows/s; 0 rejected")
    assert not Mark.objects.exists()
    assert not Lease.objects.exists()


@pytest.mark.parametrize("names", [["library.code"], ["codes"], ["codes", "library.Code"]])
def test_backfill_takes_label_or_table_once(codes: Emulator, names: list[str]):
    assert run(*names)[0].count("codes: 5 rows sent") == 1


def test_backfill_of_all_mirrors(codes: Emulator):
    Customer.objects.bulk_create([Customer(joined="2026-03-01"), Customer(joined="2026-03-01", is_test=True)])
    out, _ = run()
    assert codes.tables() == {"codes": 5, "customers": 1}
    assert "purchases: 0 rows sent in 0 requests" in out


def test_backfill_as_json_is_one_object(codes: Emulator):
    out, err = run("codes", format="json")
    assert err == ""
    result = json.loads(out)
    assert result["mirrors"][0].pop("seconds") >= 0
    assert result == {
        "mode": "production",
        "mirrors": [
            {
                "mirror": "library.Code",
                "table": "codes",
                "database": "default",
                "rows": 5,
                "sent": 5,
                "rejected": 0,
                "pending": 0,
                "requests": 1,
                "error": "",
                "reasons": {},
                "sample": [],
            }
        ],
    }


def test_backfill_dry_run_sends_nothing(codes: Emulator):
    out, _ = run("codes", "--dry-run")
    assert codes.stats()["requests"] == 0
    assert out == (
        "5 rows of library.Code, checked but not sent\n"
        "codes: 5 of 5 rows can be sent; 0 rejected\n"
        "The first data points:\n"
        '  {"keys":["code"],"code":"c0","number":0,"loud":"N"}\n'
        '  {"keys":["code"],"code":"c1","number":1,"loud":"N"}\n'
        '  {"keys":["code"],"code":"c2","number":2,"loud":"N"}\n'
    )
    assert not any(table.objects.exists() for table in (Mark, Lease, Rejection, MirrorState))


def test_backfill_dry_run_needs_no_credentials(codes: Emulator, settings: Any):
    settings.RJMETRICS = {"ENABLED": False}
    result = json.loads(run("codes", dry_run=True, format="json")[0])
    assert result["mode"] == "dry-run"
    assert len(result["mirrors"][0]["sample"]) == 3


def test_backfill_dry_run_tells_what_can_not_be_sent(codes: Emulator):
    Code.objects.filter(number__gt=2).update(note="bad")
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("rjmetrics_backfill", "codes", dry_run=True, stdout=out, stderr=err)
    assert str(caught.value) == "Not everything can be sent. codes: 2 rejected."
    assert caught.value.returncode == 1
    assert "codes: 3 of 5 rows can be sent; 2 rejected\n" in out.getvalue()
    assert "  2 rejected: loud() raised ValueError: no voice\n" in out.getvalue()
    assert not Rejection.objects.exists()


def test_backfill_sandbox_touches_no_mark_and_no_lease(codes: Emulator):
    Code.objects.get(number=1).save()
    marks = list(Mark.objects.values())
    out, _ = run("codes", "--sandbox")
    assert codes.tables() == {}
    stats = codes.stats()
    assert stats["data_points"] == 0 or "sandbox" in stats
    assert list(Mark.objects.values()) == marks
    assert not Lease.objects.exists()
    assert not MirrorState.objects.exists()
    first, second = out.splitlines()
    assert first.endswith(", the sandbox")
    assert second.startswith("codes: 5 rows sent to the sandbox, which stores nothing, in 1 request, ")


def test_backfill_says_so_where_the_settings_mean_the_sandbox(codes: Emulator, settings: Any):
    settings.RJMETRICS["SANDBOX"] = True
    assert json.loads(run("codes", format="json")[0])["mode"] == "sandbox"
    assert "to the sandbox, which stores nothing," in run("codes")[0]
    assert codes.tables() == {}


def test_backfill_limit_is_of_each_mirror(codes: Emulator):
    Customer.objects.bulk_create(Customer(joined="2026-03-01") for _ in range(3))
    run("codes", "customers", "--limit", "2")
    assert codes.tables() == {"codes": 2, "customers": 2}


def test_backfill_batch_size(codes: Emulator):
    out, _ = run("codes", "--batch-size", "2", "--concurrency", "1")
    assert "5 rows sent in 3 requests" in out
    assert codes.stats()["requests"] == 3


def test_backfill_since(warehouse: Emulator, mirror: Any):
    mirror(Place, fields=["name"], table="places", modified="changed")
    for name, changed in [("old", "2026-02-28T23:59:59Z"), ("new", "2026-03-01T00:00:00Z")]:
        place = Place.objects.create(name=name)
        Place.objects.filter(pk=place.pk).update(changed=changed)
    run("places", "--since", "2026-03-01T00:00:00Z")
    assert [row["name"] for row in warehouse.rows("places")] == ["new"]
    # A date, and a time without a zone, are in TIME_ZONE: New York's, five hours behind.
    run("places", "--since", "2026-02-28")
    assert len(warehouse.rows("places")) == 2


def test_backfill_since_a_date_field(warehouse: Emulator, mirror: Any):
    mirror(Book, fields=["title"], table="books", modified="published")
    for day in (28, 1):
        Book.objects.create(title=str(day), published=dt.date(2026, 2 if day == 28 else 3, day))
    run("books", "--since", "2026-03-01")
    assert [row["title"] for row in warehouse.rows("books")] == ["1"]


UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", dt.datetime(2026, 3, 1, 5, tzinfo=UTC)),
        ("2026-07-01 12:30", dt.datetime(2026, 7, 1, 16, 30, tzinfo=UTC)),
        ("2026-07-01T12:30:15.5+02:00", dt.datetime(2026, 7, 1, 10, 30, 15, 500_000, tzinfo=UTC)),
        ("2026-07-01T12:30:00Z", dt.datetime(2026, 7, 1, 12, 30, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_moment(settings: Any, text: str, expected: dt.datetime, use_tz: bool):
    settings.USE_TZ = use_tz
    found = moment(text)
    assert timezone.is_aware(found) is use_tz
    assert (found if use_tz else timezone.make_aware(found)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "01/03/2026",
        "2026",
        "1772366400",
        "2026-03-01T25:00",
        "12:30",
        "9999-12-31T23:59:59",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_backfill_since_garbage(codes: Emulator, text: str):
    told = refused("codes", f"--since={text}", code=1)
    assert told == (
        f"Error: argument --since: {text!r} is not a date or date-time such as 2026-03-01 or "
        "2026-03-01T12:30:00+00:00"
    )
    assert codes.stats()["requests"] == 0


def test_backfill_since_without_modified(codes: Emulator):
    assert refused("--since", "2026-03-01", "codes", code=2) == (
        "--since: CodeMirror (library.Code) does not say which field to compare. "
        'Set modified = "..." in it, or name other mirrors.'
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--batch-size", "0"], "argument --batch-size: '0' is not a whole number from 1 to 100"),
        (["--batch-size", "101"], "argument --batch-size: '101' is not a whole number from 1 to 100"),
        (["--batch-size", "ten"], "argument --batch-size: 'ten' is not a whole number from 1 to 100"),
        (["--batch-size", "1.5"], "argument --batch-size: '1.5' is not a whole number from 1 to 100"),
        (["--concurrency", "0"], "argument --concurrency: '0' is not a whole number from 1 to 64"),
        (["--limit", "0"], "argument --limit: '0' is not a whole number of 1 or more"),
        (["--limit", "-1"], "argument --limit: '-1' is not a whole number of 1 or more"),
        (["--sandbox", "--dry-run"], "argument --dry-run: not allowed with argument --sandbox"),
    ],
)
def test_backfill_option_out_of_range(codes: Emulator, arguments: list[str], told: str):
    assert refused("codes", *arguments, code=1) == f"Error: {told}"


def test_backfill_of_no_such_mirror_names_them_all(codes: Emulator):
    assert refused("codes", "library.Cod", code=2) == (
        "There is no mirror 'library.Cod'. The mirrors are: shop.Customer (customers), shop.Purchase (purchases), "
        "library.Code (codes)."
    )
    assert codes.stats()["requests"] == 0


def test_backfill_of_no_such_database(codes: Emulator):
    assert refused("--database", "replica", code=2) == (
        "There is no database 'replica'. The databases are: default."
    )


def test_backfill_of_a_mirror_with_a_mistake(codes: Emulator, mirror: Any):
    mirror(Author, fields=["nam"])
    assert refused(code=2) == (
        "TestMirror (library.Author): fields: 'nam' is not a field, an annotation or a method of library.Author, "
        "whose fields are: id, name. Correct the name, or drop it from fields. (rjmetrics.E011)"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"BATCH_SIZE": 0},
            "RJMETRICS['BATCH_SIZE'] is 0. Set it to an integer from 1 to 100, the API's limit. (rjmetrics.E002)",
        ),
        ({"CLIENT_ID": None}, "RJMETRICS['CLIENT_ID'] must be your positive client id."),
        ({"ENABLED": False}, 'RJMETRICS["ENABLED"] is False: nothing is sent.'),
        (
            {"API_URL": "http://example.com"},
            (
                "RJMETRICS['API_URL'] is plain http, which would show the API key to the network: "
                "use https, or set ALLOW_HTTP."
            ),
        ),
    ],
)
def test_backfill_with_settings_that_make_no_sense(
    codes: Emulator, settings: Any, given: dict[str, Any], told: str
):
    settings.RJMETRICS = {**settings.RJMETRICS, **given}
    assert refused("codes", code=2) == told


@pytest.mark.django_db(transaction=True)
def test_backfill_inside_tests_wants_to_be_asked_for():
    assert refused(code=2) == (
        "Nothing is sent inside Django's test environment: wrap the test in django_rjmetrics.testing.mirroring()."
    )


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"sandbox": True}])
def test_backfill_inside_a_transaction(codes: Emulator, options: dict[str, Any]):
    with transaction.atomic():
        told = refused("codes", code=2, **options)
    assert told == "A transaction is open on 'default': flush and backfill run outside of any."
    assert codes.stats()["requests"] == 0


def test_backfill_rejects_a_bad_record_and_says_why(codes: Emulator):
    Code.objects.filter(number=3).update(note="bad")
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("rjmetrics_backfill", "codes", stdout=out, stderr=io.StringIO())
    assert caught.value.returncode == 1
    assert str(caught.value) == "Not everything was sent. codes: 1 rejected."
    assert "codes: 4 rows sent in 1 request, " in out.getvalue()
    assert "  1 rejected: loud() raised ValueError: no voice\n" in out.getvalue()
    assert Rejection.objects.get().key == "c3"


def test_backfill_with_the_wrong_key_stops_at_once(codes: Emulator, settings: Any):
    settings.RJMETRICS["API_KEY"] = "wrong-key"
    told = refused("codes", "customers", code=1)
    assert told.startswith("Not everything was sent. codes: stopped after 0 of 5 rows: the API answered 401: ")
    assert "check CLIENT_ID, API_KEY and API_URL" in told
    assert told.endswith("; customers: not reached.")
    assert "wrong-key" not in told
    assert codes.stats()["requests"] == 1


def test_backfill_with_the_api_down(codes: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.0)
    settings.RJMETRICS["API_URL"] = "http://127.0.0.1:9/v2"
    told = refused("codes", "customers", code=1)
    assert told.startswith("Not everything was sent. codes: stopped after 0 of 5 rows: the API can't be reached (")
    assert told.endswith("; customers: not reached.")


def test_backfill_goes_on_after_a_mirror_whose_rows_can_not_be_read(codes: Emulator, mirror: Any):
    Author.objects.create(name="Ada")
    mirror(
        Author,
        table="authors",
        fields=["loud"],
        loud=lambda self, author: author.name,
        get_queryset=lambda self: Author.objects.prefetch_related("nonsense"),
    )
    mirror(Code, CodeMirror)
    told = refused("authors", "codes", code=1)
    assert told == (
        "Not everything was sent. authors: stopped after 0 of 1 row: reading the rows failed: AttributeError: "
        "Cannot find 'nonsense' on Author object, 'nonsense' is an invalid parameter to prefetch_related()."
    )
    assert codes.tables() == {"codes": 5}


def test_backfill_without_the_app_s_tables(codes: Emulator):
    names = [
        connection.ops.quote_name(f"{model._meta.db_table}{end}") for model in (Lease,) for end in ("", "_away")
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {names[0]} RENAME TO {names[1]}")
    try:
        told = refused("codes", code=1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {names[1]} RENAME TO {names[0]}")
    assert told.startswith("The database failed: ")
    assert told.endswith(". Are all migrations applied (manage.py migrate)?")
    assert "django_rjmetrics_lease" in told
    assert "\n" not in told


def test_backfill_interrupted(codes: Emulator, mirror: Any):
    def loud(self: Mirror, code: Code) -> str:
        raise KeyboardInterrupt

    mirror(Code, fields=["loud"], loud=loud, table="codes")
    assert refused("codes", code=1) == (
        "Interrupted. Start it again to send the rest; what was sent already does no harm."
    )


def test_backfill_no_progress(codes: Emulator):
    out, err = run("codes", "--no-progress")
    assert len(out.splitlines()) == 1
    assert err == ""


def test_backfill_progress_lines_where_there_is_no_terminal(codes: Emulator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("django_rjmetrics.management.progress.LINE_EVERY", 0.0)
    out, err = run("codes", "--batch-size", "2", "--concurrency", "1", format="json")
    json.loads(out)
    assert err.splitlines()[-1].startswith("codes: 5 of 5 rows, ")
    assert err.splitlines()[-1].endswith(" rows/s, 0 s left")
