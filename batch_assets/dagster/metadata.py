"""What a materialization shows: figures under stable keys, which Dagster plots over the partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster import (
    MarkdownMetadataValue,
    MetadataValue,
    TableColumn,
    TableSchema,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from batch_assets.records import Landing

_MOST_BATCHES = 50
_MOST_ERRORS = 20


def landing_metadata(
    landing: Landing, *, partitioned: bool, console_url: Callable[[str], str | None] | None = None
) -> dict[str, Any]:
    """The metadata of one partition's landing. `console_url` tells where a person looks at a batch."""
    estimate = landing.estimate
    figures: dict[str, Any] = {
        "batch_assets/requests": landing.requests,
        "batch_assets/reused": landing.reused,
        "batch_assets/folded": landing.folded,
        "batch_assets/attempts": landing.attempts,
        "batch_assets/input_tokens": landing.input_tokens,
        "batch_assets/cached_tokens": landing.cached_tokens,
        "batch_assets/output_tokens": landing.output_tokens,
        "batch_assets/estimated_input_tokens": estimate.input_tokens,
        "batch_assets/estimated_output_tokens": estimate.output_tokens,
        "batch_assets/cost_usd": _usd(landing.cost_usd),
        "batch_assets/standard_usd": _usd(landing.standard_usd),
        "batch_assets/saved_usd": _usd(landing.saved_usd),
        "batch_assets/estimated_usd": _usd(estimate.usd),
        "batch_assets/turnaround_seconds": landing.turnaround_seconds,
        "batch_assets/size_bytes": landing.size_bytes,
        "batch_assets/generation": landing.ref.generation,
        "batch_assets/rate_source": landing.rate_source,
    }
    for outcome, rows in landing.outcomes.items():
        figures[f"batch_assets/rows_{outcome}"] = rows
    figures["batch_assets/success_rate"] = (
        round(landing.outcomes.get("succeeded", 0) / landing.rows, 6) if landing.rows else 1.0
    )
    if landing.batch_ids:
        figures["batch_assets/batches"] = _batches(landing.batch_ids, console_url)
    if landing.errors:
        figures["batch_assets/errors"] = _errors(landing.errors)
    figures["dagster/partition_row_count" if partitioned else "dagster/row_count"] = landing.rows
    figures["dagster/uri"] = landing.path
    figures["dagster/column_schema"] = TableSchema(
        columns=[
            TableColumn(name=name, type=kind, description=description or None)
            for name, kind, description in landing.columns
        ]
    )
    return {key: value for key, value in figures.items() if value is not None}


def _usd(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _batches(batch_ids: tuple[str, ...], console_url: Callable[[str], str | None] | None) -> MarkdownMetadataValue:
    lines = []
    for batch_id in batch_ids[:_MOST_BATCHES]:
        url = console_url(batch_id) if console_url else None
        lines.append(f"- [{batch_id}]({url})" if url else f"- {batch_id}")
    if len(batch_ids) > _MOST_BATCHES:
        lines.append(f"- and {len(batch_ids) - _MOST_BATCHES} more")
    return MetadataValue.md("\n".join(lines))


def _errors(errors: dict[str, int]) -> MarkdownMetadataValue:
    ranked = sorted(errors.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_ERRORS]
    rows = [f"| {kind.replace('|', '/')} | {count} |" for kind, count in ranked]
    return MetadataValue.md("\n".join(["| error | rows |", "|---|---:|", *rows]))
