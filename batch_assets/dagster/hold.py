"""The hold: one placeholder run that keeps a backfill in progress while the provider works.

This is the one module that leans on Dagster's internals. Since 1.13.21 the backfill daemon fails every target without a
materialization as soon as a tick makes no progress and no unfinished run carries the backfill's tag (dagster#34219).
A run in status SUSPENDED (since 1.13.26) is unfinished, and takes no worker and no place in the queue. It never gets a
RUN_START: run monitoring spares it because it has no start time. It is released by RUN_SUCCESS or RUN_CANCELED, never
by deletion. Older releases wait by themselves and need no hold; but they count a partition as failed only where a run
with the backfill's tag failed, so what a person gives up gets such a run.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from dagster import DagsterEvent, DagsterEventType, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.execution import asset_backfill
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagster import AssetKey, DagsterInstance, RunRecord

HOLD_TAG = "batch_assets/hold"
"""On the placeholder run; its value is the scope: store and namespace."""
HOLD_JOB = "batch_assets_waiting"
GIVEN_UP_JOB = "batch_assets_given_up"

_NAMESPACE = uuid.UUID("b9a6a0de-2f1c-4f5e-8a39-1e1c2a1f7d10")
_MOST_HOLDS = 10_000
_KEPT_TAGS = (BACKFILL_ID_TAG, PARTITION_NAME_TAG, "dagster/asset_partition_range")
"""How the tags begin that name a run's backfill, and its partition, its dimensions or its range."""


def hold_needed() -> bool:
    """This Dagster fails a backfill that waits, and can be kept from it."""
    return hasattr(asset_backfill, "_backfill_is_stalled") and hasattr(DagsterRunStatus, "SUSPENDED")


def is_open(instance: DagsterInstance, backfill_id: str | None) -> bool:
    """The backfill is in progress: neither ended nor being canceled."""
    return backfill_status(instance, backfill_id) is BulkActionStatus.REQUESTED


def is_canceled(instance: DagsterInstance, backfill_id: str | None) -> bool:
    """Somebody canceled the backfill."""
    return backfill_status(instance, backfill_id) in (BulkActionStatus.CANCELING, BulkActionStatus.CANCELED)


def backfill_status(instance: DagsterInstance, backfill_id: str | None) -> BulkActionStatus | None:
    """Where the backfill stands; None if there is no such backfill."""
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    return backfill.status if backfill else None


def take_hold(instance: DagsterInstance, backfill_id: str, scope: str, why: str) -> bool:
    """Keep the backfill in progress; done again, it changes nothing. False if Dagster did not take it."""
    if not hold_needed():
        return True
    for number in range(_MOST_HOLDS):
        run_id = _hold_id(backfill_id, scope, number)
        run = instance.get_run_by_id(run_id)
        if run is None:
            _add_hold(instance, run_id, backfill_id, scope, why)
            run = instance.get_run_by_id(run_id)
        if run is None:
            return False
        if not run.is_finished:
            return True
    return False


def release_hold(instance: DagsterInstance, hold: DagsterRun, *, canceled: bool = False) -> None:
    """End the placeholder run; what is left of the backfill is now the daemon's to judge."""
    event = DagsterEventType.RUN_CANCELED if canceled else DagsterEventType.RUN_SUCCESS
    why = "The backfill was canceled." if canceled else "Nothing of this backfill waits for a provider any more."
    _report(instance, hold, event, why)


def fail_given_up(instance: DagsterInstance, parked: DagsterRun, asset_key: AssetKey, why: str) -> None:
    """Count the asset's partitions of a parked run as failed in its backfill; done again, it changes nothing.

    Only where Dagster needs no hold: elsewhere the daemon itself fails what nothing holds any more.
    """
    backfill_id = parked.tags.get(BACKFILL_ID_TAG)
    if hold_needed() or not is_open(instance, backfill_id):
        return
    run_id = str(uuid.uuid5(_NAMESPACE, f"{parked.run_id}/{asset_key.to_user_string()}"))
    run = instance.get_run_by_id(run_id)
    if run is None:
        tags = {key: value for key, value in parked.tags.items() if key.startswith(_KEPT_TAGS)}
        run = instance.add_run(DagsterRun(job_name=GIVEN_UP_JOB, run_id=run_id, run_config={}, tags=tags))
    if not run.is_finished:
        planned = AssetMaterializationPlannedData(asset_key, partition=run.tags.get(PARTITION_NAME_TAG))
        step = asset_key.to_python_identifier()
        instance.report_dagster_event(
            DagsterEvent.build_asset_materialization_planned_event(GIVEN_UP_JOB, step, planned), run_id=run_id
        )
        _report(instance, run, DagsterEventType.RUN_FAILURE, why)


def open_holds(instance: DagsterInstance, scope: str) -> dict[str, DagsterRun]:
    """The holds of this store and namespace that are not released, by backfill."""
    if not hold_needed():
        return {}
    runs = instance.get_runs(RunsFilter(tags={HOLD_TAG: scope}, statuses=[DagsterRunStatus.SUSPENDED]))
    return {run.tags[BACKFILL_ID_TAG]: run for run in runs}


def all_holds(instance: DagsterInstance) -> list[RunRecord]:
    """The placeholder runs of every store and namespace that are not released."""
    if not hold_needed():
        return []
    return list(instance.get_run_records(RunsFilter(job_name=HOLD_JOB, statuses=[DagsterRunStatus.SUSPENDED])))


def has_unfinished_runs(instance: DagsterInstance, backfill_ids: Iterable[str]) -> set[str]:
    """Those of the backfills that have an unfinished run, or one that waits for its retry, other than a hold."""
    wanted = list(backfill_ids)
    if not wanted:
        return set()
    unfinished = instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: wanted}, statuses=NOT_FINISHED_STATUSES))
    failed = instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: wanted}, statuses=[DagsterRunStatus.FAILURE]))
    return {run.tags[BACKFILL_ID_TAG] for run in unfinished if HOLD_TAG not in run.tags} | {
        run.tags[BACKFILL_ID_TAG] for run in failed if run.is_complete_and_waiting_to_retry
    }


def _hold_id(backfill_id: str, scope: str, number: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{scope}/{backfill_id}/{number}"))


def _add_hold(instance: DagsterInstance, run_id: str, backfill_id: str, scope: str, why: str) -> None:
    hold = DagsterRun(
        job_name=HOLD_JOB,
        run_id=run_id,
        run_config={},
        status=DagsterRunStatus.SUSPENDED,
        tags={BACKFILL_ID_TAG: backfill_id, HOLD_TAG: scope},
    )
    try:
        instance.add_run(hold)
    except DagsterRunAlreadyExists:  # a sibling parked at the same moment
        return
    _report(instance, hold, DagsterEventType.RUN_SUSPENDED, why)


def _report(instance: DagsterInstance, run: DagsterRun, event: DagsterEventType, message: str) -> None:
    instance.report_dagster_event(
        DagsterEvent(event_type_value=event.value, job_name=run.job_name, message=message), run_id=run.run_id
    )
