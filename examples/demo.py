"""`make demo`: a backfill of the example, through Dagster's own daemons and sensors, to its end.

Exit status 0 only if the backfill ends COMPLETED_SUCCESS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from batch_assets.errors import BatchAssetsError
from batch_assets.samples import FIRST_DAY, OwnFile, chosen_provider, emulator_url
from examples.dagster_api import Backfill, DagsterApi, DagsterError, NotThere
from examples.nights import SHOWN, print_bill, print_nights, print_rows
from examples.processes import (
    LOOPBACK,
    ROOT,
    dagster_dev,
    emulator,
    free_port,
    interruptible,
    make_home,
    own_folder,
    stop,
)

if TYPE_CHECKING:
    from pathlib import Path

LATENCY_SECONDS = 4.0
"""How long the emulator takes for a batch."""
LOADING_SECONDS = 120.0
BACKFILL_SECONDS = 900.0
"""With the emulator; a provider itself may take a day."""
LOOK_SECONDS = 1.0

FILE_WIDTH = 150
"""Characters of a line where the output is no terminal."""

MESSAGES = ["support_queries", "support_queries_classified", "intent_report"]
MEETINGS = ["meetings", "meetings_summarized"]


class Failed(Exception):
    """The demo ends here; the text says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be materialized."""

    assets: list[str]
    nights: list[str]
    of: int
    """Nights that there are."""

    @classmethod
    def from_environment(cls) -> Choice:
        """The sample's first nights, or the last nights of a user's own file. Raises BatchAssetsError, Failed."""
        text = os.environ.get("NIGHTS") or "3"
        if not text.isdigit() or int(text) < 1:
            raise Failed(f"NIGHTS={text} is not a number of nights")
        count = int(text)
        own = OwnFile.from_environment()
        if own is None:
            first = date.fromisoformat(FIRST_DAY)
            nights = [(first + timedelta(days=number)).isoformat() for number in range(count)]
            return cls(assets=[*MESSAGES, *MEETINGS], nights=nights, of=count)
        today = date.today().isoformat()  # noqa: DTZ011  # as Dagster's partitions: a day is there when it is over
        days = [day for day in own.days() if day < today]
        if not days:
            raise Failed(f"{own.path} has no day before today")
        return cls(assets=MESSAGES, nights=days[-count:], of=len(days))


def main() -> int:
    """Run the demo and return its exit status."""
    width = None if sys.stdout.isatty() else FILE_WIDTH
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    interruptible()
    try:
        choice = Choice.from_environment()
        with own_folder(ROOT / ".demo") as folder:
            _demo(choice, folder, console)
    except (Failed, BatchAssetsError, DagsterError, NotThere, OSError, RuntimeError) as error:
        sys.stderr.write(f"make demo: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("make demo: interrupted\n")
        return 130
    return 0


def _demo(choice: Choice, folder: Path, console: Console) -> None:
    home = make_home(folder / "home")
    log_file = folder / "dagster.log"
    with (
        emulator(state=folder / "emulator", port=0, latency_seconds=LATENCY_SECONDS) as provider,
        log_file.open("wb") as log,
    ):
        name = chosen_provider()
        url = provider.url if provider else None
        where = (
            "itself: this costs money and may take hours" if provider is None else f"in the emulator, {provider.url}"
        )
        console.print(f"Batches go to {name} {where}.", soft_wrap=True)
        port = free_port()
        process = dagster_dev(home, port=port, emulator_url=url, log=log)
        try:
            api = DagsterApi(f"http://{LOOPBACK}:{port}")
            _until_ready(api, process, log_file)
            console.print(f"Dagster runs at {api.url} until this ends; its log is {log_file.relative_to(ROOT)}.")
            _backfill(api, choice, process, log_file, console)
            bought = 0
            for asset in [asset for asset in choice.assets if asset in SHOWN]:
                nights = api.metadata(asset, choice.nights)
                print_nights(asset, nights, console)
                print_rows(asset, nights, console)
                bought += sum(facts.get("batch_assets/requests", 0) for facts in nights.values())
            if provider is not None:
                print_bill(provider.bill(), bought, console)
        finally:
            stop(process)


def _until_ready(api: DagsterApi, process: subprocess.Popen[bytes], log_file: Path) -> None:
    end = time.monotonic() + LOADING_SECONDS
    while not api.is_ready():
        _must_live(process, log_file)
        if time.monotonic() > end:
            raise Failed(f"Dagster has not loaded definitions.py within {LOADING_SECONDS:.0f} s; see {log_file}")
        time.sleep(LOOK_SECONDS)


def _must_live(process: subprocess.Popen[bytes], log_file: Path) -> None:
    if process.poll() is not None:
        lines = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
        raise Failed(f"dagster dev ended with status {process.returncode}: {lines[-1] if lines else ''} ({log_file})")


def _backfill(
    api: DagsterApi, choice: Choice, process: subprocess.Popen[bytes], log_file: Path, console: Console
) -> None:
    """Launch it and show how it goes until it is over. Raises Failed unless it ends COMPLETED_SUCCESS."""
    backfill_id = api.launch_backfill(choice.assets, choice.nights, title="make demo")
    nights = f"{len(choice.nights)} of {choice.of} nights" if choice.of > len(choice.nights) else f"{choice.of} nights"
    console.print(
        f"Backfill {backfill_id}: {', '.join(choice.assets)}; {nights}, {choice.nights[0]} to {choice.nights[-1]}.",
        soft_wrap=True,
    )
    start = time.monotonic()
    end = None if emulator_url() is None else start + BACKFILL_SECONDS
    told = ""
    with console.status("starting") as spinner:
        while True:
            backfill = api.backfill(backfill_id)
            line = _line(backfill)
            if line != told:
                console.print(f"{time.monotonic() - start:5.0f} s  {line}", soft_wrap=True)
                told = line
            spinner.update(f"{time.monotonic() - start:.0f} s, waiting")
            if backfill.over:
                break
            _must_live(process, log_file)
            if end is not None and time.monotonic() > end:
                raise Failed(f"backfill {backfill_id} is still {backfill.status} after {BACKFILL_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
    if backfill.status != "COMPLETED_SUCCESS":
        reason = backfill.error or api.failure(backfill_id) or f"see {log_file}"
        raise Failed(f"backfill {backfill_id} ended {backfill.status}: {reason}")


def _line(backfill: Backfill) -> str:
    """`REQUESTED  support_queries 3/3, support_queries_classified 0/3 (3 in progress)`."""
    parts = []
    for asset in backfill.assets:
        notes = [f"{asset.in_progress} in progress"] if asset.in_progress else []
        notes += [f"{asset.failed} failed"] if asset.failed else []
        parts.append(
            f"{asset.asset} {asset.materialized}/{asset.targeted}" + (f" ({', '.join(notes)})" if notes else "")
        )
    return f"{backfill.status:<18} {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
