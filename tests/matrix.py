"""`make matrix`: the tests that lean on other people's releases, once for each set of releases that is promised.

Each column has a venv of its own over the packages of the one that runs this: pip puts what differs in front of them.
Exit status 0 only if all columns pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".matrix"
SHOWN = ("dagster", "dagster-gcp", "openai", "anthropic", "google-genai", "mistralai")
BACKFILLS = tuple(f"tests/dagster/test_{name}.py" for name in ("backfill", "sensors", "partitions", "selections"))
COMPONENTS = tuple(f"tests/components/test_{name}.py" for name in ("batch_asset_component", "batch_engine_component"))
LEANING = BACKFILLS + COMPONENTS
"""On what Dagster does inside."""
DAGSTER = ("dagster", "dagster-webserver", "dagster-graphql", "dagster-shared", "dagster-pipes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One set of releases, and the tests that have to pass with it."""

    name: str
    packages: tuple[str, ...]
    alone: bool = False
    """Without what they ask for: dagster-gcp asks for one release of dagster exactly, and comes out later than it."""
    tests: tuple[str, ...]
    """Files and folders, and options of pytest."""


def lowest(package: str) -> str:
    """The oldest release that pyproject.toml allows, as a requirement."""
    found = [
        Version(specifier.version)
        for line in requires("batch-assets") or []
        if (requirement := Requirement(line)).name == package
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]
    return f"{package}=={max(found)}"


COLUMNS = (
    Column(
        name="dagster-oldest",
        packages=(lowest("dagster"), lowest("dagster").replace("dagster", "dagster-webserver"), lowest("dagster-gcp")),
        # Its templates do not know FreshnessPolicy.
        tests=(*LEANING, f"--deselect={COMPONENTS[0]}::test_a_freshness_policy"),
    ),
    # The last release in which a backfill waits by itself; later ones need the hold.
    Column(
        name="dagster-1.13.20",
        packages=("dagster==1.13.20", "dagster-webserver==1.13.20", "dagster-gcp==0.29.20"),
        tests=LEANING,
    ),
    Column(name="dagster-newest", packages=DAGSTER, alone=True, tests=LEANING),
    Column(
        name="sdks-oldest",
        packages=tuple(lowest(sdk) for sdk in ("openai", "anthropic", "google-genai", "mistralai")),
        # Without the comparison with the SDKs' types: old ones lack fields of today. Of hosts with one adapter, one.
        tests=(
            "tests/providers",
            "--ignore=tests/providers/test_wire_types.py",
            "-k=not (TestAzure or TestGroq or TestDoubleword or TestDeepSeek or TestRealtimeResponses)",
        ),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the venvs, run the tests, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("columns", nargs="*", metavar="column", help=", ".join(column.name for column in COLUMNS))
    names = parser.parse_args(arguments).columns
    if unknown := set(names) - {column.name for column in COLUMNS}:
        parser.error(f"there is no column {', '.join(sorted(unknown))}")
    table = Table("column", "releases", "tests", "seconds")
    passed = True
    for column in COLUMNS:
        if names and column.name not in names:
            continue
        start = time.monotonic()
        python = install(column)
        status, last = run_tests(column, python)
        passed = passed and status == 0
        table.add_row(
            column.name,
            releases(python),
            last if status == 0 else f"[red]FAILED[/]: {last}",
            f"{time.monotonic() - start:.0f}",
        )
        print(f"{column.name}: {last}", flush=True)
    Console(width=120).print(table)
    return 0 if passed else 1


def install(column: Column) -> Path:
    """A fresh venv with the column's releases. Returns its Python."""
    folder = FOLDER / column.name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    shared = [ROOT, *(path for path in sys.path if path.endswith("site-packages"))]
    (Path(own.strip()) / "shared.pth").write_text("\n".join(map(str, shared)))
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--upgrade"]
    command = [*pip, *(("--no-deps",) if column.alone else ()), *column.packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:  # where it is 0, what is said is of other packages of Dagster's, which are not used
        sys.exit(done.stdout + done.stderr)
    return python


def releases(python: Path) -> str:
    """What was installed of the packages that matter."""
    program = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", program, *SHOWN], text=True).strip()


def run_tests(column: Column, python: Path) -> tuple[int, str]:
    """The exit status, and pytest's last line."""
    # Old releases warn about what newer Pythons and packages deprecate; that is not what is tested here.
    command = [python, "-m", "pytest", "-q", "-n", "auto", "-W", "ignore", "-p", "no:cacheprovider", *column.tests]
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-20_000:] + done.stderr[-5_000:], flush=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return done.returncode, lines[-1].strip("= ") if lines else "no tests ran"


if __name__ == "__main__":
    sys.exit(main())
