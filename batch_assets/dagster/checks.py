"""The asset checks of a batch asset, evaluated from the figures of the landing by the run that lands the table.

They are outputs of the asset's own step: no step is added, a parked run evaluates none, and a failed blocking check
keeps the steps below from running.
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    Output,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from batch_assets.dagster.reported import latest_materializations
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from dagster import AssetExecutionContext, AssetsDefinition, EventLogRecord, PartitionsDefinition

    from batch_assets.records import Landing, PlanStatus

ROWS = "every_row_accounted_for"
SUCCESS = "success_rate"
VALID = "schema_valid_rate"
BUDGET = "cost_within_budget"
ESTIMATE = "cost_near_estimate"

_PARTITIONED = "partitions_def" in inspect.signature(AssetCheckSpec.__new__).parameters
"""Whether this Dagster keeps a check's result for each partition; else a run over a range has one result for all."""
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChecks:
    """What the checks of a batch asset ask for. Rates are shares between 0 and 1."""

    min_success_rate: float = 0.95
    """Of all rows: those with outcome `succeeded`."""
    min_valid_rate: float = 0.95
    """Of the responses that came: those that fit the output type."""
    estimate_tolerance: float = 0.5
    """By what share of the estimate the cost and the input tokens may be off.

    Before a night has shown how long responses are, the estimate takes the bound for them: a cost below it is then
    all right."""
    severity: Literal["warn", "error"] | None = None
    """Of a rate below its minimum; default: `error` if `blocking`, else `warn`."""
    blocking: bool = False
    """A failed check fails the step, so that nothing below it runs. Not of `cost_near_estimate`, which only warns."""

    def __post_init__(self) -> None:
        for name in ("min_success_rate", "min_valid_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"checks: `{name}` is {getattr(self, name)}; write a share between 0 and 1")
        if self.estimate_tolerance < 0:
            raise ConfigError(f"checks: `estimate_tolerance` is {self.estimate_tolerance}; write 0 or more")
        if self.severity not in (None, "warn", "error"):
            raise ConfigError(f"checks: `severity` is {self.severity!r}; write `warn` or `error`")
        if self.blocking and self.severity == "warn":
            raise ConfigError('checks: a failed check blocks only with severity "error"; leave `severity` out')

    @property
    def rate_severity(self) -> AssetCheckSeverity:
        """Severity of a rate below its minimum."""
        warn = self.severity == "warn" or (self.severity is None and not self.blocking)
        return AssetCheckSeverity.WARN if warn else AssetCheckSeverity.ERROR


def check_specs(
    key: AssetKey,
    checks: BatchChecks,
    *,
    max_cost_usd: Decimal | None,
    partitions_def: PartitionsDefinition[Any] | None,
) -> list[AssetCheckSpec]:
    """The checks of one batch asset. `cost_within_budget` is there where a budget is."""
    texts = {
        ROWS: "Every row of the plan is in the table, with exactly one outcome.",
        SUCCESS: f"At least {checks.min_success_rate:.1%} of the rows succeeded.",
        VALID: f"At least {checks.min_valid_rate:.1%} of the responses fit the output type.",
        BUDGET: f"The batches cost at most ${max_cost_usd}.",
        ESTIMATE: f"The cost and the input tokens are within {checks.estimate_tolerance:.0%} of the estimate.",
    }
    if max_cost_usd is None:
        del texts[BUDGET]
    options: dict[str, Any] = {"partitions_def": partitions_def} if _PARTITIONED and partitions_def else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster calls checks of partitions a preview
        return [
            AssetCheckSpec(name, asset=key, description=text, blocking=checks.blocking and name != ESTIMATE, **options)
            for name, text in texts.items()
        ]


def make_optional(definition: AssetsDefinition) -> None:
    """Let the step end without its checks: Dagster asks for every check of a step, and a parked run has none to give.

    Dagster has no public way for this but assets that can be selected without their checks, and checks without them.
    """
    for name in definition.node_check_specs_by_output_name:
        output = definition.node_def.output_def_named(name)
        output._is_required = False
        assert output.optional


def evaluate(
    context: AssetExecutionContext, checks: BatchChecks, landings: Sequence[Landing], max_cost_usd: Decimal | None
) -> Iterator[Output[None] | AssetCheckEvaluation]:
    """The results of every check for each partition that has landed. To be yielded after the materialization."""
    if not landings:
        return
    verdicts = {landing.ref.partition: _verdicts(landing, checks, max_cost_usd) for landing in landings}
    records = _materializations(context, [landing.ref.partition for landing in landings])
    for output_name, spec in context.assets_def.check_specs_by_output_name.items():
        yield Output(None, output_name=output_name)
        found = {partition: named[spec.name] for partition, named in verdicts.items()}
        if getattr(spec, "partitions_def", None) is None:
            last = landings[-1].ref.partition
            yield _evaluation(spec, _worst(found), records.get(last))
            continue
        for partition, verdict in found.items():
            yield _evaluation(spec, verdict, records.get(partition), partition=partition)


def may_fail(status: PlanStatus, checks: BatchChecks | None, max_cost_usd: Decimal | None) -> bool:
    """Whether a blocking check may fail on the table of a settled plan. From counts alone: False is certain."""
    if checks is None or not checks.blocking:
        return False
    succeeded = status.rows - status.failed_rows
    cost = status.cost_usd
    over_budget = cost is not None and max_cost_usd is not None and cost > max_cost_usd
    return (
        over_budget
        or succeeded < checks.min_success_rate * status.rows
        or succeeded < checks.min_valid_rate * (succeeded + status.invalid_rows)
    )


# ---------------------------------------------------------------- verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check says of one partition."""

    passed: bool
    description: str
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR
    metadata: Mapping[str, float | int | str] = field(default_factory=dict)


def _verdicts(landing: Landing, checks: BatchChecks, max_cost_usd: Decimal | None) -> dict[str, Verdict]:
    return {
        ROWS: _rows(landing),
        SUCCESS: _success(landing, checks),
        VALID: _valid(landing, checks),
        BUDGET: _budget(landing, max_cost_usd),
        ESTIMATE: _estimate(landing, checks.estimate_tolerance),
    }


def _rows(landing: Landing) -> Verdict:
    by_outcome = sum(landing.outcomes.values())
    return Verdict(
        passed=landing.planned_rows == landing.rows == by_outcome,
        description=f"{landing.planned_rows} rows planned, {landing.rows} in the table, {by_outcome} with an outcome",
        metadata={
            "planned_rows": landing.planned_rows,
            "rows": landing.rows,
            **{f"rows_{outcome}": count for outcome, count in sorted(landing.outcomes.items())},
        },
    )


def _success(landing: Landing, checks: BatchChecks) -> Verdict:
    succeeded = landing.outcomes.get("succeeded", 0)
    rate = succeeded / landing.rows if landing.rows else 1.0
    worst = sorted(landing.errors.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
    why = "; most of the others: " + ", ".join(f"{kind} ({count})" for kind, count in worst) if worst else ""
    return Verdict(
        passed=rate >= checks.min_success_rate,
        description=f"{succeeded} of {landing.rows} rows succeeded{why}",
        severity=checks.rate_severity,
        metadata={
            "success_rate": round(rate, 6),
            "min_success_rate": checks.min_success_rate,
            "succeeded": succeeded,
            "rows": landing.rows,
        },
    )


def _valid(landing: Landing, checks: BatchChecks) -> Verdict:
    valid, invalid = landing.outcomes.get("succeeded", 0), landing.outcomes.get("invalid", 0)
    rate = valid / (valid + invalid) if valid + invalid else 1.0
    return Verdict(
        passed=rate >= checks.min_valid_rate,
        description=f"{valid} of {valid + invalid} responses fit the output type",
        severity=checks.rate_severity,
        metadata={
            "valid_rate": round(rate, 6),
            "min_valid_rate": checks.min_valid_rate,
            "valid": valid,
            "invalid": invalid,
        },
    )


def _budget(landing: Landing, max_cost_usd: Decimal | None) -> Verdict:
    metadata = _known({"cost_usd": landing.cost_usd, "max_cost_usd": max_cost_usd})
    if landing.cost_usd is None or max_cost_usd is None:
        return Verdict(
            passed=False,
            description="no price of the model is known, so what it cost cannot be told; set `pricing`",
            severity=AssetCheckSeverity.WARN,
            metadata=metadata,
        )
    return Verdict(
        passed=landing.cost_usd <= max_cost_usd,
        description=f"${landing.cost_usd:.4f} of ${max_cost_usd}",
        metadata=metadata,
    )


def _estimate(landing: Landing, tolerance: float) -> Verdict:
    """Both ways, but for a cost below an estimate whose output tokens are only bounded."""
    estimate = landing.estimate
    tokens = landing.input_tokens / estimate.input_tokens - 1 if estimate.input_tokens else 0.0
    cost = float(landing.cost_usd / estimate.usd) - 1 if landing.cost_usd is not None and estimate.usd else None
    deviations = {"input_tokens_deviation": round(tokens, 6)}
    text = f"{landing.input_tokens} input tokens, {estimate.input_tokens} estimated ({tokens:+.0%})"
    if cost is not None:
        deviations["cost_deviation"] = round(cost, 6)
        text = f"${landing.cost_usd:.4f}, ${estimate.usd:.4f} estimated ({cost:+.0%}); {text}"
    if not estimate.calibrated:
        text += "; no earlier night tells how long responses are"
    cost_is_off = cost is not None and (cost > tolerance or (estimate.calibrated and -cost > tolerance))
    return Verdict(
        passed=landing.attempts == 0 or not (cost_is_off or abs(tokens) > tolerance),
        description=text if landing.attempts else "nothing was sent",
        severity=AssetCheckSeverity.WARN,
        metadata={
            **deviations,
            "tolerance": tolerance,
            "calibrated": int(estimate.calibrated),
            "input_tokens": landing.input_tokens,
            "estimated_input_tokens": estimate.input_tokens,
            **_known({"cost_usd": landing.cost_usd, "estimated_usd": estimate.usd}),
        },
    )


def _known(amounts: Mapping[str, Decimal | None]) -> dict[str, float]:
    return {name: float(amount) for name, amount in amounts.items() if amount is not None}


def _worst(found: Mapping[str | None, Verdict]) -> Verdict:
    """One verdict for all partitions of a run."""
    if len(found) == 1:
        return next(iter(found.values()))
    failed = {partition: verdict for partition, verdict in found.items() if not verdict.passed}
    named = "; ".join(f"{partition}: {failed[partition].description}" for partition in list(failed)[:_MOST_NAMED])
    severe = any(verdict.severity is AssetCheckSeverity.ERROR for verdict in (failed or found).values())
    return Verdict(
        passed=not failed,
        description=f"{len(found) - len(failed)} of {len(found)} partitions passed" + (f"; {named}" if named else ""),
        severity=AssetCheckSeverity.ERROR if severe else AssetCheckSeverity.WARN,
        metadata={
            "partitions": len(found),
            "failed_partitions": len(failed),
            **{
                f"{key}/{name}": value
                for key in list(failed)[:_MOST_NAMED]
                for name, value in failed[key].metadata.items()
            },
        },
    )


# ---------------------------------------------------------------- Dagster's side


def _evaluation(
    spec: AssetCheckSpec, verdict: Verdict, record: EventLogRecord | None, *, partition: str | None = None
) -> AssetCheckEvaluation:
    options: dict[str, Any] = {"partition": partition} if partition is not None else {}
    target = None
    if record is not None:
        target = AssetCheckEvaluationTargetMaterializationData(
            run_id=record.event_log_entry.run_id, storage_id=record.storage_id, timestamp=record.timestamp
        )
    return AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=verdict.passed,
        metadata=dict(verdict.metadata),
        target_materialization_data=target,
        severity=verdict.severity,
        description=verdict.description,
        blocking=spec.blocking,
        **options,
    )


def _materializations(
    context: AssetExecutionContext, partitions: Sequence[str | None]
) -> dict[str | None, EventLogRecord]:
    """The newest materialization of each partition: what the results are about."""
    records = latest_materializations(context.instance, context.asset_key, partitions)
    return {record.partition_key: record for record in records}
