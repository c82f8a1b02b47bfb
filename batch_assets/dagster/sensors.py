"""The two sensors: `batch_poll` asks the providers, `batch_resume` requests the runs that land tables.

They are two because a sensor with an asset selection drops the job name of a RunRequest and runs its whole selection.
Each stops at a deadline and goes on at the next tick where it left off; the cursor that says where is only a hint.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetSelection,
    DagsterRunStatus,
    DefaultSensorStatus,
    JobDefinition,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    build_resources,
    sensor,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from batch_assets.dagster.jobs import ACCOUNT_TAG, ADVANCE_JOB, advance_config
from batch_assets.dagster.parking import POLL_SENSOR, RESUME_SENSOR
from batch_assets.dagster.progress import Told, read_cursor, write_cursor
from batch_assets.dagster.resume_tick import ResumeTick
from batch_assets.dagster.store import STORE_KEY
from batch_assets.dagster.waiting import cancel_abandoned_waits
from batch_assets.deadline import DeadlineExceeded, within
from batch_assets.engine import poll_account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_assets.dagster.providers import BatchProviderResource
    from batch_assets.dagster.store import BatchStore
    from batch_assets.ledger import Ledger

DEADLINE_SECONDS = 40.0
"""Dagster gives a tick 60 s; the creation of the runs comes after it."""
_GRACE_SECONDS = 2.0
"""For a provider to stop by itself, between two calls, before its answer is not waited for any more."""
_FIRST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 900.0
_RUNS_LOOKED_AT = 6


def poll_sensor(
    job: JobDefinition, providers: Mapping[str, BatchProviderResource], store: BatchStore, *, interval_seconds: int
) -> SensorDefinition:
    """The sensor that asks each provider account for its open batches."""

    @sensor(
        name=POLL_SENSOR,
        job=job,
        minimum_interval_seconds=interval_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        description="Asks every provider account for its open batches, and requests a batch_advance run per account "
        "that has something to harvest, retry or submit.",
    )
    def batch_poll(context: SensorEvaluationContext) -> SensorResult:
        started = time.monotonic()
        lines: list[str] = []
        requests: list[RunRequest] = []
        last, entries = read_cursor(context.cursor)
        names = _rotated(sorted(providers), last)
        told = Told(entries)
        complete = True
        accounts: set[str] = set()
        with build_resources({STORE_KEY: store}, instance=context.instance) as resources:
            ledger: Ledger = getattr(resources, STORE_KEY).ledger()
        for place, name in enumerate(names):
            left = DEADLINE_SECONDS - (time.monotonic() - started)
            if left <= 0:
                lines.append(f"{', '.join(names[place:])}: next tick")
                complete = False
                break
            last = name
            try:
                share = left / (len(names) - place)
                poll = partial(
                    _poll, context, ledger, name, providers[name], accounts=accounts, told=told, deadline_seconds=share
                )
                line, request = within(share + _GRACE_SECONDS, poll)
            except DeadlineExceeded as late:
                complete = False
                lines.append(f"{name}: {late}, and is asked again at the next tick")
                continue
            except Exception as error:  # noqa: BLE001 -- one provider's failure does not stop the others
                complete = False
                lines.append(f"{name}: {_one_line(error)}")
                continue
            lines.append(line)
            requests += [request] if request else []
        for line in lines:
            context.log.info(line)
        reason = "; ".join(lines) or "no provider is defined"
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else SkipReason(reason),
            cursor=write_cursor(last, told.entries(keep=not complete)),
        )

    return batch_poll


def resume_sensor(selection: AssetSelection, store: BatchStore, *, interval_seconds: int) -> SensorDefinition:
    """The sensor that lands tables. It reads only the store and Dagster."""

    @sensor(
        name=RESUME_SENSOR,
        asset_selection=selection,
        minimum_interval_seconds=interval_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        description="Requests the runs that land the tables of settled plans, and what was planned below them.",
    )
    def batch_resume(context: SensorEvaluationContext) -> SensorResult:
        with build_resources({STORE_KEY: store}, instance=context.instance) as resources:
            ready: BatchStore = getattr(resources, STORE_KEY)
            tick = ResumeTick(context, ready.ledger(), hold=ready.hold == "auto", deadline_seconds=DEADLINE_SECONDS)
        requests = tick.run()
        for line in tick.lines:
            context.log.info(line)
        reason = "; ".join(tick.lines)
        return SensorResult(
            run_requests=requests, skip_reason=None if requests else SkipReason(reason), cursor=tick.cursor
        )

    return batch_resume


def _poll(
    context: SensorEvaluationContext,
    ledger: Ledger,
    name: str,
    resource: BatchProviderResource,
    *,
    accounts: set[str],
    told: Told,
    deadline_seconds: float,
) -> tuple[str, RunRequest | None]:
    """One provider: its line in the log, and a request if there is work."""
    with build_resources({name: resource}, instance=context.instance) as resources:
        provider = getattr(resources, name).provider(name)
    canceled = cancel_abandoned_waits(context.instance, ledger, provider)
    poll = poll_account(ledger, provider, deadline_seconds=deadline_seconds)
    repository = context.repository_def
    if repository is not None and poll.account not in accounts:
        told.observe(context.instance, ledger, poll.progress, repository.asset_graph.has)
    line = poll.summary if poll.summary.startswith(name) else f"{name}: {poll.summary}"
    if canceled:
        line += f"; {canceled} canceled"
    if not poll.needs_advance or poll.account in accounts:
        return line, None
    accounts.add(poll.account)
    pause = _pause(context, poll.account)
    if pause:
        return f"{line}; {pause}", None
    return line, RunRequest(run_config=advance_config(name), tags={ACCOUNT_TAG: poll.account})


def _pause(context: SensorEvaluationContext, account: str) -> str | None:
    """Why no batch_advance run is requested now: one is under way, or the last ones failed."""
    tags = {ACCOUNT_TAG: account}
    if context.instance.get_runs(RunsFilter(tags=tags, statuses=NOT_FINISHED_STATUSES), limit=1):
        return f"{ADVANCE_JOB} is under way"
    failures = 0
    ended = 0.0
    for record in context.instance.get_run_records(RunsFilter(tags=tags), limit=_RUNS_LOOKED_AT):
        if record.dagster_run.status is not DagsterRunStatus.FAILURE:
            break
        ended = ended or record.end_time or record.update_timestamp.timestamp()
        failures += 1
    if not failures:
        return None
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
    left = ended + pause - time.time()
    return f"the last {failures} {ADVANCE_JOB} run(s) failed, next one in {left:.0f} s" if left > 0 else None


def _rotated(names: list[str], last: str | None) -> list[str]:
    """The names after `last`, then the others: who came last in one tick comes first in the next."""
    after = [name for name in names if last is not None and name > last]
    return [*after, *(name for name in names if name not in after)]


def _one_line(error: Any) -> str:
    """The cause that a person can act on: Dagster wraps what resources raise."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
