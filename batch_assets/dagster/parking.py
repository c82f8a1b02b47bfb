"""Parking: a run that would have to wait ends at once, and leaves word of what to resume.

The store is the truth (a `Wait` per parked asset and run); the tags below are for people, and for finding runs.
"""

from __future__ import annotations

import hashlib
import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import AssetObservation, DagsterEventType, DagsterRun
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType
from dagster._core.storage.tags import BACKFILL_ID_TAG, RETRY_NUMBER_TAG

from batch_assets.dagster.hold import is_open, take_hold
from batch_assets.dagster.progress import waiting_metadata
from batch_assets.errors import ConfigError
from batch_assets.records import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dagster import AssetExecutionContext, AssetKey, DagsterInstance

    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRef, PlanStatus

PARKED_TAG = "batch_assets/parked"
"""On a parked run: its own run id, because a re-execution copies tags."""
RESUMES_TAG = "batch_assets/resumes"
"""On a resume run: the waits that it ends, separated by spaces."""
FAMILY_TAG = "batch_assets/first_run"
"""On a resume run: the run that was parked first; it and its resume runs are one family."""
ABANDONED_TAG = "batch_assets/abandoned"
"""On a parked run that nothing can resume: why."""

POLL_SENSOR = "batch_poll"
RESUME_SENSOR = "batch_resume"

_HEARTBEAT_SECONDS = 600
"""The daemon reports about every 30 s; a machine that woke up just now needs a moment."""
_MOST_OBSERVATIONS = 100


class CannotResume(ConfigError):
    """Nothing would resume this run if it were parked: the daemon or a sensor is not running."""


def resumed_waits(run: DagsterRun) -> tuple[str, ...]:
    """The waits that the run ends. None for a person's re-execution of such a run: it plans anew."""
    if run.parent_run_id is not None and RETRY_NUMBER_TAG not in run.tags:
        return ()
    return tuple(run.tags.get(RESUMES_TAG, "").split())


def family_of(run: DagsterRun) -> str:
    """The id of the first run of the run's family: its own, if it was not made to resume another."""
    return run.tags[FAMILY_TAG] if resumed_waits(run) and FAMILY_TAG in run.tags else run.run_id


def hold_scope(ledger: Ledger) -> str:
    """Whose holds they are: two stores that wait for one backfill do not release each other's."""
    return f"{ledger.store_id}/{ledger.namespace}"


def check_resumable(context: AssetExecutionContext) -> None:
    """Raise CannotResume, saying what to start, unless daemon and sensors run. Called before anything is sent."""
    reason = _why_not_resumable(context.instance, context.run, _sensor_names(context))
    if reason:
        raise CannotResume(
            f"{context.asset_key.to_user_string()} waits hours for its batches, and {reason}. Nothing was sent. "
            "In a test, or without the daemon, let the run itself wait: BatchStore(wait_seconds=...), or "
            "batch_assets.testing.run_night."
        )


def planned_assets(instance: DagsterInstance, run_id: str) -> AbstractSet[AssetKey]:
    """The assets that the run set out to materialize, as it announced when it was created."""
    logs = instance.all_logs(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    events = [entry.dagster_event for entry in logs if entry.dagster_event is not None]
    return {event.asset_key for event in events if event.asset_key is not None}


def park(
    context: AssetExecutionContext,
    ledger: Ledger,
    refs: Sequence[PlanRef],
    statuses: Iterable[PlanStatus],
    *,
    hold: bool,
    window_seconds: float,
    provenance: Mapping[str, str],
) -> None:
    """Leave word of the plans that the run waits for. The caller then ends its step without yielding an output."""
    run, instance = context.run, context.instance
    backfill_id = run.tags.get(BACKFILL_ID_TAG)
    asset = context.asset_key.to_user_string()
    wait = Wait(
        wait_id=f"{run.run_id}-{hashlib.sha256(asset.encode()).hexdigest()[:12]}",
        run_id=run.run_id,
        backfill_id=backfill_id,
        asset=asset,
        plans=tuple(refs),
        downstream=_planned_downstream(context),
        provenance=dict(provenance),
    )
    if backfill_id and hold and is_open(instance, backfill_id):
        why = "Waits for a provider's batches; the sensor batch_resume ends it when the tables have landed."
        if not take_hold(instance, backfill_id, hold_scope(ledger), why):
            context.log.warning(
                "This Dagster did not take the run that keeps a backfill in progress: the tables will land, but the "
                "backfill will be shown as failed."
            )
    ledger.record_wait(wait)
    now = datetime.now(UTC)
    instance.add_run_tags(run.run_id, {PARKED_TAG: run.run_id})
    for status in list(statuses)[:_MOST_OBSERVATIONS]:
        context.log_event(
            AssetObservation(
                context.asset_key,
                partition=status.ref.partition,
                metadata=waiting_metadata(
                    requests=status.requests,
                    results=status.results,
                    batch_ids=status.batch_ids,
                    since=now,
                    expected_by=now + timedelta(seconds=window_seconds) if window_seconds < math.inf else None,
                    reason="; ".join(status.reasons) or None,
                ),
            )
        )
    context.log.info(
        f"Parked: {len(refs)} plan(s) of {asset} wait for their batches. No process waits; {RESUME_SENSOR} requests "
        "the run that lands the table."
    )


def _planned_downstream(context: AssetExecutionContext) -> tuple[str, ...]:
    planned = planned_assets(context.instance, context.run.run_id)
    graph = context.job_def.asset_layer.asset_graph
    found: set[AssetKey] = set()
    todo = [context.asset_key]
    while todo:
        for child in graph.get(todo.pop()).child_keys:
            if child in planned and child not in found:
                found.add(child)
                todo.append(child)
    return tuple(sorted(key.to_user_string() for key in found))


def _sensor_names(context: AssetExecutionContext) -> frozenset[str] | None:
    try:
        repository = context.repository_def
    except Exception:  # noqa: BLE001 -- Dagster raises CheckError where a run has no repository (dg.materialize)
        return None
    return frozenset(sensor.name for sensor in repository.sensor_defs)


def _why_not_resumable(instance: DagsterInstance, run: DagsterRun, sensors: frozenset[str] | None) -> str | None:
    if instance.is_ephemeral:
        return "this Dagster instance lives in memory and ends with this process, so nothing would resume it"
    missing = {POLL_SENSOR, RESUME_SENSOR} - sensors if sensors is not None else set()
    if missing:
        return (
            f"this code location has no sensor {' and '.join(sorted(missing))}: define it with batch_definitions(...)"
        )
    if instance.daemon_skip_heartbeats_without_errors:
        return None
    stopped = sorted(
        state.instigator_name
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        if state.instigator_name in (POLL_SENSOR, RESUME_SENSOR)
        and state.status is InstigatorStatus.STOPPED
        and _same_location(run, state.origin)
    )
    if stopped:
        return f"the sensor {' and '.join(stopped)} is stopped: start it under Automation in the Dagster UI"
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    if beat is None or time.time() - beat.timestamp > _HEARTBEAT_SECONDS:
        return "the Dagster daemon is not running: start `dagster dev`, or `dagster-daemon run`"
    return None


def _same_location(run: DagsterRun, origin: object) -> bool:
    if run.remote_job_origin is None:
        return True
    mine = run.remote_job_origin.repository_origin.code_location_origin.location_name
    theirs = getattr(getattr(origin, "repository_origin", None), "code_location_origin", None)
    return theirs is None or theirs.location_name == mine
