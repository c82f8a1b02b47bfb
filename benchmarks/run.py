"""`make bench [BENCH_ARGS="100000 1000000"]`: speed, CPU and memory of a night, beside the loop by hand."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from batch_assets.emulator import SpawnedEmulator
from benchmarks.measure import Measured, in_process

Section: TypeAlias = Callable[[int, Path], Iterator[tuple[str, Measured]]]
"""The steps of one table, measured with so many rows in an empty folder."""

_VERSIONS = ["dagster", "pyarrow", "numpy", "pandas", "pydantic", "msgspec", "orjson", "jsonschema-rs", "openai"]


def night(rows: int, folder: Path) -> Iterator[tuple[str, Measured]]:
    """From rows to the table, over OpenAI's files."""
    count, place = str(rows), str(folder)
    by_hand = "benchmarks.by_hand"
    _run(by_hand, "fake_results", count, place)
    yield "plan, by hand", in_process(by_hand, "plan", count, place)
    yield "collect, by hand", in_process(by_hand, "collect", count, place)
    with SpawnedEmulator(state=folder / "emulator", latency_seconds=0.0) as emulator:

        def ours(step: str) -> Measured:
            return in_process("benchmarks.ours", step, count, place, emulator.openai_base_url)

        planned = ours("plan")
        yield "plan", planned
        submitted = ours("submit")
        yield "upload and submit", submitted
        harvested = ours("harvest")
        yield "collect 1: download, check off, validate, store", harvested
        landed = ours("land")
        yield "collect 2: join and write the table", landed
    yield "collect, both", harvested + landed
    yield "end to end, without the provider's time", planned + submitted + harvested + landed


def inline(rows: int, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Creating one batch of inline requests."""
    count, place = str(rows), str(folder)
    with SpawnedEmulator(state=folder / "emulator", latency_seconds=86_000.0) as emulator:
        address = emulator.addresses["anthropic"]
        _run("benchmarks.inline", "plan", count, place, address)
        yield "the SDK's batches.create", in_process("benchmarks.inline", "create_by_hand", count, place, address)
        yield "batch_assets", in_process("benchmarks.inline", "create", count, place, address)


SECTIONS: list[tuple[str, Section, int | None]] = [
    ("a night of {rows:,} rows", night, None),
    ("creating an Anthropic batch of {rows:,} inline requests", inline, 100_000),  # its limit
]
"""Title, steps, and the most rows that can be measured."""


def main(sizes: list[int]) -> None:
    """Measure every section at every size and print its table."""
    console = Console(width=130)
    console.print(_machine(), highlight=False)
    for size in sizes:
        for title, section, most in SECTIONS:
            rows = size if most is None else min(size, most)
            if rows < size and rows in sizes:
                continue  # measured once
            table = Table(title=title.format(rows=rows), title_justify="left")
            for name in ("step", "rows/s", "seconds", "CPU seconds", "CPU µs a row", "peak MB above start"):
                table.add_column(name, justify="left" if name == "step" else "right", no_wrap=True)
            with tempfile.TemporaryDirectory() as folder:
                for step, taken in section(rows, Path(folder)):
                    table.add_row(step, *_figures(rows, taken))
            console.print(table)


def _figures(rows: int, taken: Measured) -> list[str]:
    return [
        f"{rows / taken.seconds:,.0f}",
        f"{taken.seconds:.1f}",
        f"{taken.cpu_seconds:.1f}",
        f"{taken.cpu_seconds / rows * 1e6:.1f}",
        f"{taken.peak_mb:,.0f}",
    ]


def _machine() -> str:
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as facts:  # noqa: PTH123  # Linux, as measure.py
        model = next((line.partition(":")[2].strip() for line in facts if line.startswith("model name")), model)
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} cores ({model}), load {load}, Python {platform.python_version()}, {versions}"


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)  # noqa: S603  # our own modules


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
