"""What the demo prints at its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_ROWS = "dagster/partition_row_count"
_OUTCOMES = "batch_assets/rows_"
_SHOWN_ROWS = 4
_WIDEST = 180
"""Characters of a cell."""

SHOWN = {
    "support_queries_classified": ["id", "text", "intent", "urgency", "reason", "batch_cost_usd"],
    "meetings_summarized": ["id", "summary", "action_items", "batch_cost_usd"],
}


def print_nights(asset: str, nights: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """A line per night, from the metadata that the asset's materializations show."""
    table = Table(title=asset, title_justify="left")
    for column in ("night", "rows", "outcomes", "requests", "tokens in", "out", "cost", "standard", "saved"):
        table.add_column(column, justify="left" if column in {"night", "outcomes"} else "right")
    for night, facts in sorted(nights.items()):
        outcomes = {
            key.removeprefix(_OUTCOMES): rows for key, rows in facts.items() if key.startswith(_OUTCOMES) and rows
        }
        table.add_row(
            night,
            _count(facts.get(_ROWS)),
            ", ".join(f"{rows:,} {outcome}" for outcome, rows in sorted(outcomes.items())) or "-",
            _count(facts.get("batch_assets/requests")),
            _count(facts.get("batch_assets/input_tokens")),
            _count(facts.get("batch_assets/output_tokens")),
            *(_usd(facts.get(f"batch_assets/{key}")) for key in ("cost_usd", "standard_usd", "saved_usd")),
        )
    console.print()
    console.print(table)


def print_rows(asset: str, nights: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """A few rows of the newest night's table."""
    path = nights[max(nights)].get("dagster/uri") if nights else None
    if path is None:
        return
    names = pq.read_schema(path).names
    columns = [name for name in SHOWN[asset] if name in names]
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=_SHOWN_ROWS, columns=columns), None)
    table = Table(*columns, title=f"the first rows of {Path(path).name}", title_justify="left", show_lines=True)
    for row in batch.to_pylist() if batch is not None else []:
        table.add_row(*(_cell(row[name]) for name in columns))
    console.print(table)


def print_bill(bill: Mapping[str, Any], bought: int, console: Console) -> None:
    """What the emulator would have charged for, beside the requests of the plans: each is paid for once."""
    billed = sum(line["requests"] for line in bill.values())
    console.print(f"The plans have {bought:,} requests, and the emulator has billed {billed:,}.")


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.4f}"


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(f"- {_cell(entry)}" for entry in value[:3])
    text = " ".join(str(value).split())
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"
