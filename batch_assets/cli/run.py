"""`batch-assets run`: one file through a batch API, without an orchestrator.

What was sent is remembered under the output's path: the same command again finds the open plan and goes on with it, and
a command with another prompt or other rows for the same output buys only what has changed.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from batch_assets.cli.console import counted, duration, notes, results, usd, write_json
from batch_assets.cli.definition import load_schema, open_provider, read_text
from batch_assets.cli.output_file import OutputFile
from batch_assets.engine import AssetSpec, collect, plan_partition, submit_waiting, wait_for
from batch_assets.engine.status import plan_status
from batch_assets.errors import PlanRefused
from batch_assets.input_file import open_rows
from batch_assets.ledger import Ledger
from batch_assets.prompts import Prompt
from batch_assets.records import Request
from batch_assets.storage.local import LocalStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

    from rich.console import Console

    from batch_assets.providers.protocol import Provider
    from batch_assets.records import Landing, PlanRecord, PlanStatus


def execute(given: argparse.Namespace) -> int:
    """Plan, submit, wait, write the table, say what it cost."""
    output = given.output.resolve()
    table = OutputFile(output)
    table.check(given.input)
    spec = _spec(given, asset=output.as_posix())
    provider = open_provider(given.provider, given.provider_option, given.store)
    with _terminated_as_interrupted(), _Display(notes()) as display:
        with open_rows(given.input) as rows:
            ledger = Ledger.open(LocalStore(given.store), given.namespace)
            plan = plan_partition(ledger, provider, spec, None, display.counting(_with_columns(rows, spec)))
        if plan.refused is not None:
            raise PlanRefused(plan.refused)
        settled = plan_status(ledger, plan.ref).settled
        display.planned(plan, settled=settled)
        try:
            if not settled:
                _wait(ledger, provider, plan, display, interval_seconds=given.poll)
        except KeyboardInterrupt as interrupt:
            status, realtime = plan_status(ledger, plan.ref), provider.limits.realtime
            raise KeyboardInterrupt(_interrupted(status, given, realtime=realtime)) from interrupt
        display.writing()
        landing = collect(ledger, table, plan.ref)
    if given.json:
        write_json(landing)
    else:
        _print_summary(landing, results())
    return 0


def _spec(given: argparse.Namespace, *, asset: str) -> AssetSpec:
    schema = load_schema(given.output_type, given.schema)
    system = None if given.system is None else read_text("--system", given.system)
    return AssetSpec(
        asset=asset,
        provider=given.provider,
        request=Request(
            model=given.model,
            system=system,
            json_schema=schema.json_schema,
            schema_name=schema.name,
            max_output_tokens=given.max_output_tokens,
        ),
        prompt=Prompt(read_text("--prompt", given.prompt), system=system),
        schema=schema,
        row_key=given.row_key,
        max_cost_usd=given.max_cost_usd,
    )


def _with_columns(rows: pa.RecordBatchReader, spec: AssetSpec) -> pa.RecordBatchReader:
    """The rows. JSON lines without a line have not even columns, and get those that the command line names."""
    if rows.schema.names:
        return rows
    names = dict.fromkeys([spec.row_key, *sorted(spec.prompt.columns or ())])
    return pa.schema([(name, pa.string()) for name in names]).empty_table().to_reader()


def _wait(ledger: Ledger, provider: Provider, plan: PlanRecord, display: _Display, *, interval_seconds: float) -> None:
    submit_waiting(ledger, provider, log=display.note)
    wait_for(
        ledger,
        provider,
        [plan.ref],
        interval_seconds=interval_seconds,
        on_progress=lambda statuses: display.waiting(statuses[0]),
        log=display.note,
    )


def _interrupted(status: PlanStatus, given: argparse.Namespace, *, realtime: bool) -> str:
    if status.settled:
        return "interrupted before the table was written; the same command again writes it and pays nothing"
    rest = "what was answered is kept" if realtime else "what was sent goes on at the provider"
    return (
        f"interrupted with {status.results:,} of {status.requests:,} results; {rest}. "
        f"The same command again goes on here; `batch-assets status --store {given.store}` shows what is open"
    )


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM like Ctrl-C, so that the account's lease is released at once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Display:
    """Progress on stderr: rows while the plan is made, then results of requests. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("planning, rows", total=None)
        self._told: set[str] = set()

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, line: str) -> None:
        """A line above the bar, once."""
        if line not in self._told:
            self._told.add(line)
            self._console.print(line)

    def counting(self, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The same rows, counted as they pass."""

        def counted_batches() -> Iterator[pa.RecordBatch]:
            for batch in rows:
                yield batch
                self._progress.advance(self._task, batch.num_rows)

        return pa.RecordBatchReader.from_batches(rows.schema, counted_batches())

    def planned(self, plan: PlanRecord, *, settled: bool) -> None:
        """The plan in one line; the bar starts anew."""
        parts = [f"{counted(plan.rows, 'row')}, {counted(plan.requests, 'request')}"]
        if plan.reused:
            parts.append(f"{plan.reused:,} of them known already")
        if plan.unrenderable:
            parts.append(f"{counted(plan.unrenderable, 'row')} without a request")
        if settled:
            parts.append("there is nothing to send")
        elif plan.shards:
            parts.append(f"{counted(len(plan.shards), 'batch', 'batches')} to {plan.request.model}")
            bound = plan.estimate.max_usd
            parts.append(f"about {usd(plan.estimate.usd)}" + (f", at most {usd(bound)}" if bound is not None else ""))
        self.note("; ".join(parts))
        self._progress.reset(self._task, total=plan.requests, completed=plan.reused, description="waiting, results")

    def waiting(self, status: PlanStatus) -> None:
        """Where the plan stands."""
        for reason in status.reasons:
            self.note(reason)
        states = ", ".join(f"{count} {state}" for state, count in sorted(status.states.items()))
        self._progress.update(self._task, completed=status.results, description=f"batches: {states}; results")

    def writing(self) -> None:
        """The table is being written."""
        self._progress.update(self._task, description="writing the table")


def _print_summary(landing: Landing, console: Console) -> None:
    table = Table(show_header=False, title=landing.path, title_justify="left", title_style="bold")
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("rows", f"{landing.rows:,}")
    for outcome, rows in sorted(landing.outcomes.items()):
        table.add_row(f"  {outcome}", f"{rows:,}")
    for kind, rows in sorted(landing.errors.items()):
        table.add_row(f"    {kind}", f"{rows:,}")
    table.add_row("requests", f"{landing.requests:,}")
    table.add_row("  known already", f"{landing.reused:,}")
    table.add_row("  sent", f"{landing.attempts:,}")
    table.add_row("input tokens", f"{landing.input_tokens:,}")
    table.add_row("output tokens", f"{landing.output_tokens:,}")
    table.add_row("cost", f"{usd(landing.cost_usd)} (rates {landing.rate_source})")
    table.add_row("at standard price", usd(landing.standard_usd))
    table.add_row("saved", usd(landing.saved_usd))
    table.add_row("batches took", duration(landing.turnaround_seconds))
    console.print(table)
