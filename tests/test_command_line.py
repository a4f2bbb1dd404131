"""The commands as they are typed: exit codes, one line for an error and never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_rjmetrics.emulator import Emulator

ROOT = Path(__file__).parent.parent
API_KEY = "k3y-that/must+not=leak"

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A shop of its own, with a customer of two purchases, and an emulator."""
    folder = tmp_path_factory.mktemp("shop")
    with Emulator(client_id=1, api_key=API_KEY) as emulator:
        made = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RJMETRICS_")},
            "SHOP_VAR": str(folder),
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "shopsite.settings",
            "RJMETRICS_API_KEY": API_KEY,
            "RJMETRICS_API_URL": emulator.api_url,
            "RJMETRICS_SANDBOX_URL": emulator.sandbox_url,
        }
        csv = folder / "sample.csv"
        csv.write_text("customer_id,date,cds,dollars\n4,1997-01-01,2,29.33\n4,1997-01-18,1,14.96\n")
        for arguments in (["migrate"], ["load_cdnow", str(csv)]):
            done = _manage(made, *arguments)
            assert done.returncode == 0, done.stderr
        yield made


@pytest.fixture
def manage(environment: dict[str, str]) -> Manage:
    """``manage("command", ..., NAME="value")`` runs testproject/manage.py."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        done = _manage({**environment, **variables}, *arguments)
        assert API_KEY not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def _manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "testproject" / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_backfill_exits_0_when_all_is_sent(manage: Manage):
    done = manage("rjmetrics_backfill")
    assert (done.returncode, done.stderr) == (0, "")
    assert "customers: 1 row sent in 1 request, " in done.stdout
    assert "purchases: 2 rows sent in 1 request, " in done.stdout


def test_backfill_as_json_writes_nothing_else(manage: Manage):
    done = manage("rjmetrics_backfill", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["sent"] for row in json.loads(done.stdout)["mirrors"]] == [1, 2]
    assert done.stdout.count("\n") == 1


def test_backfill_with_the_wrong_key_exits_1(manage: Manage):
    done = manage("rjmetrics_backfill", "purchases", RJMETRICS_API_KEY="wrong-key")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("CommandError: Not everything was sent. purchases: stopped after 0 of 2 rows: ")
    assert "wrong-key" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["rjmetrics_backfill", "purchase"],
            (
                "CommandError: There is no mirror 'purchase'. The mirrors are: shop.Customer (customers), "
                "shop.Purchase (purchases)."
            ),
        ),
        (
            ["rjmetrics_backfill", "--since", "soon"],
            (
                "manage.py rjmetrics_backfill: error: argument --since: 'soon' is not a date or date-time such as "
                "2026-03-01 or 2026-03-01T12:30:00+00:00"
            ),
        ),
        (
            ["rjmetrics_backfill", "--batch-size", "101"],
            (
                "manage.py rjmetrics_backfill: error: argument --batch-size: "
                "'101' is not a whole number from 1 to 100"
            ),
        ),
        (
            ["rjmetrics_backfill", "--since", "2026-03-01"],
            (
                "CommandError: --since: CustomerMirror (shop.Customer) does not say which field to compare. "
                'Set modified = "..." in it, or name other mirrors.'
            ),
        ),
        (
            ["rjmetrics_backfill", "--database", "x"],
            "CommandError: There is no database 'x'. The databases are: default.",
        ),
        (
            ["rjmetrics_flush", "--database", "x"],
            "CommandError: There is no database 'x'. The databases are: default.",
        ),
        (["rjmetrics_flush", "--wtch"], "manage.py rjmetrics_flush: error: unrecognized arguments: --wtch"),
        (
            ["rjmetrics_status", "--max-lag", "x"],
            "manage.py rjmetrics_status: error: argument --max-lag: 'x' is not a number of 0 or more",
        ),
    ],
)
def test_usage_error_is_one_line_and_exits_2(manage: Manage, arguments: list[str], line: str):
    done = manage(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")


def test_settings_error_is_one_line_and_exits_2(manage: Manage):
    done = manage("rjmetrics_backfill", "--no-progress", RJMETRICS_API_URL="http://example.com/v2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "CommandError: RJMETRICS['API_URL'] is plain http, which would show the API key to the network: "
        "use https, or set ALLOW_HTTP.\n"
    )


@pytest.mark.parametrize("command", ["rjmetrics_backfill", "rjmetrics_flush", "rjmetrics_status"])
def test_command_without_migrated_tables_is_one_line_and_exits_1(manage: Manage, tmp_path: Path, command: str):
    done = manage(command, SHOP_VAR=str(tmp_path))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("CommandError: The database failed: no such table: ")
    assert line.endswith(". Are all migrations applied (manage.py migrate)?")


@pytest.mark.parametrize("command", ["rjmetrics_backfill", "rjmetrics_flush", "rjmetrics_status"])
def test_help_still_shows_the_usage(manage: Manage, command: str):
    done = manage(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: manage.py {command} ")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_quietly(environment: dict[str, str], number: Any):
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "testproject" / "manage.py"), "rjmetrics_flush", "--watch"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Watching for changes; Ctrl-C ends it.\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")
