"""Print the matrix of faults: one line a fault and provider. Exit status 1 if any line is not as it must be."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from catalogue import LINES
from nights_with_faults import Fault, Line, expected_answers, measure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subjects import SUBJECTS, Subject

AT_ONE_TIME = 6
COLUMNS = ("fault", "provider", "rows in", "rows out", "rows right", "billed", "without the fault", "twice", "")


def main() -> int:
    """Run every line; what is piped is not folded."""
    started = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    lines: list[Line] = []
    for subject in track(SUBJECTS, "nights", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        lines += lines_of(subject)
    table = Table(title="Every fault, a night each", title_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 2 <= number < 8 else "left", overflow="fold")
    notes: list[str] = []
    for line in lines:
        table.add_row(*_cells(line, notes))
    console.print(table)
    for number, note in enumerate(notes, 1):
        console.print(f"{number}) {note}", soft_wrap=True)
    wrong = [line for line in lines if not line.ok]
    for line in wrong:
        console.print(f"WRONG: {line.fault.name}: {line.error or line}", soft_wrap=True, style="red")
    console.print(f"{len(lines)} lines, {len(wrong)} wrong, {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


def lines_of(subject: Subject) -> list[Line]:
    """Every line of a provider, several nights at a time: they wait most of the time."""
    expected = expected_answers(subject)
    calm = measure(subject, Fault(name="none"), expected=expected)
    with ThreadPoolExecutor(AT_ONE_TIME) as pool:
        faults = [fault for one, fault in LINES if one is subject]
        return list(pool.map(lambda fault: measure(subject, fault, calm, expected), faults))


def _cells(line: Line, notes: list[str]) -> list[str]:
    if line.fault.why and line.fault.why not in notes:
        notes.append(line.fault.why)
    note = f" {notes.index(line.fault.why) + 1})" if line.fault.why else ""
    counts = (line.rows_in, line.rows_out, line.rows_right, line.billed, line.billed_without, line.billed_twice)
    return [line.fault.name, line.provider, *map(str, counts), ("ok" if line.ok else "WRONG") + note]


if __name__ == "__main__":
    sys.exit(main())
