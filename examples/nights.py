"""What the demo prints at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_ROWS = "dagster/partition_row_count"
_OUTCOMES = "batch_assets/rows_"
_SHOWN_ROWS = 5
_WIDEST = 160
_SHOWN = {
    "support_queries_classified": ["id", "text", "intent", "urgency", "reason", "batch_cost_usd"],
    "meetings_summarized": ["id", "summary", "action_items", "batch_cost_usd"],
}


def print_nights(asset: str, nights: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """A line per night, from the metadata that the asset's materializations show."""
    table = Table(title=asset, title_justify="left")
    for column in ("night", "rows", "outcomes", "requests", "tokens in", "tokens out", "cost", "standard", "saved"):
        table.add_column(column, justify="left" if column in {"night", "outcomes"} else "right")
    for night, facts in sorted(nights.items()):
        outcomes = {key.removeprefix(_OUTCOMES): rows for key, rows in facts.items() if key.startswith(_OUTCOMES)}
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
    columns = [name for name in _SHOWN[asset] if name in names]
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=_SHOWN_ROWS, columns=columns), None)
    table = Table(*columns, title=f"the first rows of {path}", title_justify="left", show_lines=True)
    for row in batch.to_pylist() if batch is not None else []:
        table.add_row(*(_cell(row[name]) for name in columns))
    console.print(table)


def print_bill(bill: Mapping[str, Any], console: Console) -> None:
    """What the emulator would have charged for: each distinct request once."""
    for provider, line in bill.items():
        console.print(
            f"The emulator's bill as {provider}: {line['requests']:,} requests, {line['distinct']:,} of them distinct, "
            f"{line['surplus']:,} paid for twice."
        )


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:,.4f}"


def _cell(value: object) -> str:
    text = "\n".join(f"- {entry}" for entry in value) if isinstance(value, list) else str(value)
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"
