"""`make bench [ROWS="100000 1000000"]`: rows per second, CPU and memory of a night, beside the loop by hand."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from batch_assets.emulator import SpawnedEmulator
from benchmarks.measure import Measured, in_process


def main(sizes: list[int]) -> None:
    """Measure every step at every size and print the tables."""
    console = Console(width=110)
    for rows in sizes:
        table = Table(title=f"{rows:,} rows", title_justify="left")
        for name in ("step", "rows/s", "seconds", "CPU seconds", "peak memory above start, MB"):
            table.add_column(name, justify="left" if name == "step" else "right")
        with tempfile.TemporaryDirectory() as name:
            for step, taken in _night(rows, Path(name)):
                table.add_row(
                    step,
                    f"{rows / taken.seconds:,.0f}",
                    f"{taken.seconds:.1f}",
                    f"{taken.cpu_seconds:.1f}",
                    f"{taken.peak_mb:,.0f}",
                )
        console.print(table)


def _night(rows: int, folder: Path) -> list[tuple[str, Measured]]:
    count, place = str(rows), str(folder)
    by_hand = "benchmarks.by_hand"
    subprocess.run([sys.executable, "-m", by_hand, "fake_results", count, place], check=True)  # noqa: S603  # ours
    steps = [
        ("plan, by hand", in_process(by_hand, "plan", count, place)),
        ("collect, by hand", in_process(by_hand, "collect", count, place)),
    ]
    with SpawnedEmulator(state=folder / "emulator", latency_seconds=0.0) as emulator:
        for step, label in (
            ("plan", "plan"),
            ("submit", "upload and submit (emulator on the same machine)"),
            ("harvest", "collect 1: download, check off, validate, store"),
            ("land", "collect 2: join and write the table"),
        ):
            steps.append((label, in_process("benchmarks.ours", step, count, place, emulator.openai_base_url)))
    return steps


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
