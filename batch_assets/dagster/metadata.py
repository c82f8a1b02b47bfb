"""What a materialization shows: figures under stable keys, which Dagster plots over the partitions."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import orjson
from dagster import MarkdownMetadataValue, MetadataValue, TableColumn, TableColumnLineage, TableSchema

from batch_assets.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from batch_assets.engine import Spending
    from batch_assets.records import Landing

GENERATION = "batch_assets/generation"
LEDGER = "batch_assets/ledger"

_MOST_BATCHES = 50
_MOST_ERRORS = 20
_BAR = 30
_CELL = 120
"""Characters of a cell of a preview."""


def landing_metadata(
    landing: Landing,
    *,
    new: Spending,
    ledger: str,
    partitioned: bool,
    realtime: bool = False,
    console_url: Callable[[str], str | None] | None = None,
    lineage: TableColumnLineage | None = None,
    preview: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The metadata of one partition's landing.

    `new` is what was spent since the partition's last materialization, `ledger` the name of the store and namespace;
    `realtime`: the requests were made one by one, without a batch API. `console_url` tells where a person looks at a
    batch; `preview` are rows of the table, where the user asked for them.
    """
    figures = {
        **_work(landing),
        **_money(landing),
        **_new(new),
        **_outcomes(landing),
        "batch_assets/price": "standard" if realtime else "batch",
        GENERATION: landing.ref.generation,
        LEDGER: ledger,
        "batch_assets/plan_id": landing.plan_id,
        "batch_assets/prompt_fingerprint": landing.prompt_fingerprint or None,
        "batch_assets/schema_fingerprint": _fingerprint(landing.output_schema),
        "batch_assets/data_version": landing.data_version,
        "batch_assets/size_bytes": landing.size_bytes,
        "dagster/partition_row_count" if partitioned else "dagster/row_count": landing.rows,
        "dagster/uri": landing.path,
        "dagster/column_lineage": lineage,
        "dagster/column_schema": TableSchema(
            columns=[
                TableColumn(name=name, type=_shown(kind), description=description or None)
                for name, kind, description in landing.columns
            ]
        ),
    }
    if landing.batch_ids:
        figures["batch_assets/batches"] = _batches(landing.batch_ids, console_url)
    if landing.errors:
        figures["batch_assets/errors"] = _errors(landing)
    if preview:
        figures["batch_assets/preview"] = _preview(preview)
    return {key: value for key, value in figures.items() if value is not None}


def _work(landing: Landing) -> dict[str, Any]:
    return {
        "batch_assets/requests": landing.requests,
        "batch_assets/reused": landing.reused,
        "batch_assets/folded": landing.folded,
        "batch_assets/attempts": landing.attempts,
        "batch_assets/input_tokens": landing.input_tokens,
        "batch_assets/cached_tokens": landing.cached_tokens,
        "batch_assets/output_tokens": landing.output_tokens,
        "batch_assets/turnaround_seconds": landing.turnaround_seconds,
    }


def _money(landing: Landing) -> dict[str, Any]:
    estimate = landing.estimate
    return {
        "batch_assets/cost_usd": _usd(landing.cost_usd),
        "batch_assets/standard_usd": _usd(landing.standard_usd),
        "batch_assets/saved_usd": _usd(landing.saved_usd),
        "batch_assets/estimated_usd": _usd(estimate.usd),
        "batch_assets/estimated_input_tokens": estimate.input_tokens,
        "batch_assets/estimated_output_tokens": estimate.output_tokens,
        "batch_assets/rate_source": landing.rate_source,
    }


def _new(new: Spending) -> dict[str, Any]:
    """Their sums over all materializations are what was spent in all: a table that lands again adds nothing."""
    return {
        "batch_assets/new_attempts": new.attempts,
        "batch_assets/new_input_tokens": new.input_tokens,
        "batch_assets/new_output_tokens": new.output_tokens,
        "batch_assets/new_cost_usd": _usd(new.cost_usd),
        "batch_assets/new_standard_usd": _usd(new.standard_usd),
        "batch_assets/new_saved_usd": _usd(new.saved_usd),
    }


def _outcomes(landing: Landing) -> dict[str, Any]:
    counts = {str(outcome): landing.outcomes.get(outcome, 0) for outcome in Outcome}
    rate = counts["succeeded"] / landing.rows if landing.rows else 1.0
    lines = [
        f"| {outcome} | {count} | {share:.1%} | {'█' * max(1, round(share * _BAR))} |"
        for outcome, count in counts.items()
        if count
        for share in [count / landing.rows]
    ]
    return {
        **{f"batch_assets/rows_{outcome}": count for outcome, count in counts.items()},
        "batch_assets/success_rate": round(rate, 6),
        "batch_assets/outcomes": _table("outcome | rows | share | ", "--- | ---: | ---: | :---", lines),
    }


def _fingerprint(output_schema: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(output_schema, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _shown(kind: str) -> str:
    """A type as people read it: Arrow calls a categorical column `dictionary<values=string, indices=int32, ...>`."""
    return re.sub(r"dictionary<values=(\w+),[^>]*>", r"\1 (categorical)", kind)


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


def _errors(landing: Landing) -> MarkdownMetadataValue:
    """Kinds, counts and the key of a row that is one; never what is in a row."""
    ranked = sorted(landing.errors.items(), key=lambda entry: (-entry[1], entry[0]))
    lines = [
        f"| {_cell(kind)} | {count} | {_cell(landing.examples.get(kind, ''))} |"
        for kind, count in ranked[:_MOST_ERRORS]
    ]
    if len(ranked) > _MOST_ERRORS:
        lines.append(f"| {len(ranked) - _MOST_ERRORS} kinds more | {sum(n for _, n in ranked[_MOST_ERRORS:])} | |")
    return _table("error | rows | for example", "--- | ---: | ---", lines)


def _preview(rows: Sequence[dict[str, Any]]) -> MarkdownMetadataValue:
    lines = [f"| {' | '.join(_cell(value) for value in row.values())} |" for row in rows]
    return _table(" | ".join(map(_cell, rows[0])), " | ".join("---" for _ in rows[0]), lines)


def _table(head: str, rule: str, lines: Sequence[str]) -> MarkdownMetadataValue:
    return MetadataValue.md("\n".join([f"| {head} |", f"| {rule} |", *lines]))


def _cell(value: object) -> str:
    """A value that breaks no table."""
    text = " ".join(str(value).split()).replace("|", "\\|") if value is not None else ""
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
