"""What may be written on the command line."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_assets.cli.console import PROGRAM

if TYPE_CHECKING:
    from typing import TypeAlias

    Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"


def parser() -> argparse.ArgumentParser:
    """The whole command line. The parsed arguments have `command`, the name of the module that executes it."""
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Rows through LLM batch APIs at half price: typed Parquet out, nothing paid for twice.",
    )
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    _add_run(subparsers)
    _add_status(subparsers)
    _add_cancel(subparsers)
    _add_reconcile(subparsers)
    _add_release(subparsers)
    _add_gc(subparsers)
    _add_emulator(subparsers)
    return top


def _add_run(subparsers: Subparsers) -> None:
    run = subparsers.add_parser(
        "run",
        help="send a file's rows to a batch API and write the answers as Parquet",
        description="Plan, submit, wait, and write the table. Interrupted, even killed, and started again with the "
        "same arguments, it goes on where it was, and nothing is paid for twice: the store remembers what was sent for "
        "OUTPUT. Exit status 0 once the table is written; rows that failed say so in `batch_outcome`.",
    )
    run.add_argument("input", type=Path, metavar="INPUT", help="rows: .parquet, .csv, .tsv or .jsonl")
    run.add_argument("output", type=Path, metavar="OUTPUT", help="the table to write, .parquet; replaced if it exists")
    _add_provider(run)
    run.add_argument("--model", required=True, metavar="M", help="the provider's name of the model")
    run.add_argument(
        "--prompt", required=True, metavar="TEMPLATE", help="Jinja2 over the columns of a row, or @FILE with it"
    )
    answer = run.add_mutually_exclusive_group()
    answer.add_argument("--output", dest="output_type", metavar="module:Type", help="pydantic model of an answer")
    answer.add_argument(
        "--schema", type=Path, metavar="FILE", help="JSON Schema of an answer; without either, one text `response`"
    )
    run.add_argument("--row-key", required=True, metavar="COLUMN", help="column that names a row: unique, not null")
    run.add_argument("--store", required=True, type=Path, metavar="DIR", help="folder for what was sent and came back")
    run.add_argument(
        "--namespace", default="default", metavar="N", help="deployment within the store (default: default)"
    )
    run.add_argument("--system", metavar="TEXT", help="system text of every request, or @FILE with it")
    run.add_argument("--max-output-tokens", type=_positive, metavar="N", help="per response")
    run.add_argument(
        "--max-cost-usd", type=_dollars, metavar="X", help="send nothing if the plan would cost more than this"
    )
    run.add_argument(
        "--poll", type=float, default=10.0, metavar="SECONDS", help="longest time between two looks (default: 10)"
    )
    run.add_argument("--json", action="store_true", help="print one JSON object on stdout instead of a table")


def _add_status(subparsers: Subparsers) -> None:
    status = subparsers.add_parser(
        "status",
        help="show what a store knows: plans, shards, batches",
        description="List the current plan of everything in the store, with its shards and batches, and every older "
        "plan that is still open. Asks no provider.",
    )
    status.add_argument("--store", required=True, type=Path, metavar="DIR", help="the store's folder")
    status.add_argument("--namespace", default="default", metavar="N", help="deployment (default: default)")
    status.add_argument("--open", action="store_true", help="leave out what is settled")
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout instead of tables")


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", required=True, type=Path, metavar="DIR", help="the store's folder")
    command.add_argument("--namespace", default="default", metavar="N", help="deployment (default: default)")


def _add_provider(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--provider", required=True, metavar="NAME", help="openai, anthropic, gemini, ...; keys are in the environment"
    )
    _add_provider_option(command)


def _add_provider_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--provider-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the provider, `location=europe-west4` say; may be repeated",
    )


def _add_cancel(subparsers: Subparsers) -> None:
    cancel = subparsers.add_parser(
        "cancel",
        help="give up open plans",
        description="Cancel the open plans of an asset: what waits is not sent, batches that run are asked to stop, "
        "what had finished is kept. For the command `run`, ASSET is the path of its OUTPUT.",
    )
    cancel.add_argument("asset", metavar="ASSET", help="asset key, its parts joined by /")
    cancel.add_argument("--partition", action="append", default=[], metavar="KEY", help="only these; may be repeated")
    _add_provider(cancel)
    cancel.add_argument("--force", action="store_true", help="even if parked runs wait for it")
    _add_store(cancel)


def _add_reconcile(subparsers: Subparsers) -> None:
    reconcile = subparsers.add_parser(
        "reconcile",
        help="settle submissions in doubt, and find batches that no shard has",
        description="Read the provider's whole list of batches, settle every submission whose answer was lost as far "
        "as that can be settled now, cancel batches that bear our stamp and are one too many, and bring the rest on. "
        "Exit status 1 while a submission is still in doubt.",
    )
    _add_provider(reconcile)
    _add_store(reconcile)


def _add_release(subparsers: Subparsers) -> None:
    release = subparsers.add_parser(
        "release",
        help="end by hand what holds on: a backfill that waits, or a submission in doubt",
        description="Without arguments, list the backfills of the instance in DAGSTER_HOME that are held in progress. "
        "With BACKFILL, end its hold: one that was canceled while the sensors were off ends at last. With --shard, "
        "decide about a submission that is on hold because looking at the provider cannot settle it.",
    )
    release.add_argument("backfill", nargs="*", metavar="BACKFILL", help="id of a held backfill")
    release.add_argument("--force", action="store_true", help="even if it is in progress: Dagster then fails it")
    release.add_argument("--shard", metavar="SHARD", help="id of a shard on hold, as `status` shows it")
    decision = release.add_mutually_exclusive_group()
    decision.add_argument("--resubmit", action="store_true", help="send the shard again; it may be paid for twice")
    decision.add_argument("--fail", action="store_true", help="give its rows up; the next night sends them again")
    release.add_argument("--store", type=Path, metavar="DIR", help="the shard's store")
    release.add_argument("--namespace", default="default", metavar="N", help="deployment (default: default)")


def _add_gc(subparsers: Subparsers) -> None:
    gc = subparsers.add_parser(
        "gc",
        help="remove what nobody needs any more",
        description="Remove plans that newer ones replaced, drafts that became no plan, and uploaded input files that "
        "no submission needs. Never anything of an open plan, of one that somebody waits for, or of the newest plan "
        "of a partition.",
    )
    gc.add_argument("--older-than-days", type=_positive, default=90, metavar="N", help="of plans (default: 90)")
    gc.add_argument(
        "--provider", action="append", default=[], metavar="NAME", help="remove its input files; may be repeated"
    )
    _add_provider_option(gc)
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    _add_store(gc)


def _add_emulator(subparsers: Subparsers) -> None:
    emulator = subparsers.add_parser(
        "emulator",
        help="serve a local emulator of the providers",
        description="Serve the providers' batch APIs, and Google Cloud Storage, on 127.0.0.1: offline, free, "
        "deterministic. Once the port is open it prints its address, and what each official SDK is pointed at it with: "
        "OPENAI_BASE_URL, ANTHROPIC_BASE_URL, GOOGLE_GEMINI_BASE_URL, GOOGLE_VERTEX_BASE_URL, STORAGE_EMULATOR_HOST, "
        "Mistral's server_url. Any text is a key.",
    )
    emulator.add_argument("--port", type=int, default=0, metavar="P", help="0, the default, takes a free one")
    emulator.add_argument("--state", type=Path, metavar="DIR", help="keeps files, batches and the bill over restarts")
    emulator.add_argument(
        "--latency", type=float, default=2.0, metavar="SECONDS", help="how long a batch takes (default: 2)"
    )
    emulator.add_argument("--seed", type=int, default=0, metavar="N", help="of the order of result lines (default: 0)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of dollars") from None
    if not amount.is_finite() or amount <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of dollars")
    return amount
