"""Better estimates from the second night on: the first night of a definition tells how far off its own was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_assets.records import Calibration

if TYPE_CHECKING:
    from batch_assets.engine.spending import Spending
    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRecord

_FEWEST = 20
"""Answered requests that it is taken from."""
_FURTHEST = 4.0
"""A factor beyond this, or below its inverse, says that something else is wrong."""


def calibrate(ledger: Ledger, plan: PlanRecord, spent: Spending) -> None:
    """Keep what the plan's results say, for the plans of the same definition that come after it. Done once."""
    sent = sum(spec.requests for spec in plan.shards if not spec.waits_for_earlier)
    if plan.estimate.calibrated or spent.answered < _FEWEST or not (sent and plan.estimate.input_tokens):
        return
    if ledger.calibration(plan.ref.asset, plan.code_version) is not None:
        return
    factor = (spent.input_tokens / spent.answered) / (plan.estimate.input_tokens / sent)
    if not 1 / _FURTHEST <= factor <= _FURTHEST:
        return
    found = Calibration(
        input_factor=factor, output_tokens=spent.output_tokens / spent.answered, requests=spent.answered
    )
    ledger.record_calibration(plan.ref.asset, plan.code_version, found)
