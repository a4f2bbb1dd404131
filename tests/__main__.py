"""Runs the tests once on each database that answers: ``python -m tests [pytest's arguments]``."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import services


def main(arguments: list[str]) -> int:
    failed = []
    told = []
    for name in ["sqlite", *services.DATABASES]:
        missing = services.DATABASES[name].missing() if name in services.DATABASES else None
        if missing:
            told.append(missing)
            if services.MODE == "required":
                failed.append(name)
            continue
        print(f"== the tests on {name}", flush=True)
        code = subprocess.call(
            [sys.executable, "-X", "dev", "-m", "pytest", *arguments],
            env={**os.environ, "RJMETRICS_TEST_DATABASE": name},
        )
        if code:
            failed.append(name)
    for line in told:
        print(f"not tested: {line}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
