"""Observations of an asset that waits: when it parks, and then when it has come a quarter further or is held up."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, AssetObservation, MetadataValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from dagster import DagsterInstance

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanProgress, PlanRef

MOST_IN_A_TICK = 25
"""Observations; the others come with the next tick."""
_MOST_OF_A_PLAN = 8
_STEPS = 4


def waiting_metadata(
    *,
    requests: int,
    results: int,
    batch_ids: Sequence[str],
    since: datetime | None,
    expected_by: datetime | None,
    reason: str | None,
) -> dict[str, Any]:
    """What an observation shows of one partition that waits."""
    found: dict[str, Any] = {
        "batch_assets/waiting": True,
        "batch_assets/requests": requests,
        "batch_assets/results": results,
        "batch_assets/percent_done": round(100 * results / requests, 1) if requests else 100.0,
        "batch_assets/waiting_since": MetadataValue.timestamp(since) if since is not None else None,
        "batch_assets/expected_by": MetadataValue.timestamp(expected_by) if expected_by is not None else None,
        "batch_assets/batch_ids": list(batch_ids) or None,
        "batch_assets/reasons": reason,
    }
    return {key: value for key, value in found.items() if value is not None}


class Told:
    """What has been observed of the plans under way. It is kept in a sensor's cursor; its loss costs one observation.

    By plan: its number of requests, the last step, and how many observations there were.
    """

    def __init__(self, entries: dict[str, list[Any]]) -> None:
        self._before = entries
        self._now: dict[str, list[Any]] = {}
        self._left = MOST_IN_A_TICK

    def entries(self, *, keep: bool) -> dict[str, list[Any]]:
        """For the cursor: plans that were not seen in this tick are over, unless it did not see all (`keep`)."""
        return {**self._before, **self._now} if keep else self._now

    def observe(
        self,
        instance: DagsterInstance,
        ledger: Ledger,
        plans: Iterable[PlanProgress],
        is_ours: Callable[[AssetKey], bool],
    ) -> int:
        """Report the plans that have come to another step. Returns how many."""
        reported = 0
        for plan in plans:
            key = AssetKey.from_user_string(plan.ref.asset)
            if not is_ours(key):
                continue
            name = _name(plan.ref)
            requests, step, times = self._before.get(name) or [ledger.plan(plan.ref).requests, "0", 0]
            results = requests - plan.open_requests + plan.finished_requests
            now = f"{min(_STEPS * results // max(1, requests), _STEPS - 1)}{'!' if plan.reason else ''}"
            if now != step and self._left and times < _MOST_OF_A_PLAN:
                metadata = waiting_metadata(
                    requests=requests,
                    results=results,
                    batch_ids=plan.batch_ids,
                    since=plan.since,
                    expected_by=plan.expected_by,
                    reason=plan.reason,
                )
                instance.report_runless_asset_event(
                    AssetObservation(key, partition=plan.ref.partition, metadata=metadata)
                )
                step, times, reported = now, times + 1, reported + 1
                self._left -= 1
            self._now[name] = [requests, step, times]
        return reported


def read_cursor(cursor: str | None) -> tuple[str | None, dict[str, list[Any]]]:
    """The provider that came last, and what was told. Anything else than what `write_cursor` wrote is nothing."""
    try:
        found = json.loads(cursor or "{}")
        return found.get("last"), dict(found.get("told", {}))
    except (ValueError, AttributeError, TypeError):
        return None, {}


def write_cursor(last: str | None, told: dict[str, list[Any]]) -> str:
    """The cursor of `batch_poll`."""
    return json.dumps({"last": last, "told": told}, separators=(",", ":"))


def _name(ref: PlanRef) -> str:
    return hashlib.sha256(f"{ref.asset}\n{ref.partition}\n{ref.generation}".encode()).hexdigest()[:12]
