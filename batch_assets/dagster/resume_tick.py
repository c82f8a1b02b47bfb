"""One tick of `batch_resume`: look at what waits, request what can be landed, end waits, keep and release holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dagster import DagsterRun, RunRequest, RunsFilter, SensorEvaluationContext
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from batch_assets.dagster.hold import (
    backfill_status,
    has_unfinished_runs,
    is_open,
    open_holds,
    release_hold,
    take_hold,
)
from batch_assets.dagster.parking import ABANDONED_TAG, FAMILY_TAG, family_of, hold_scope
from batch_assets.dagster.resuming import Family, Resumption, is_under_way
from batch_assets.engine import plan_status
from batch_assets.errors import StoreError
from batch_assets.storage.together import together

if TYPE_CHECKING:
    from batch_assets.ledger import Ledger
    from batch_assets.records import PlanRef, PlanStatus, Wait

MOST_REQUESTS = 60
"""In one tick: a run costs about 0.13 s to create."""

_AT_ONCE = 64
"""Plans that are looked at between two looks at the clock."""

_ENDED = frozenset(
    {BulkActionStatus.COMPLETED, BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED_FAILED, None}
)


class ResumeTick:
    """Everything that one tick knows. `lines` and `cursor` are for the tick's log and for the next tick."""

    def __init__(
        self, context: SensorEvaluationContext, ledger: Ledger, *, hold: bool, deadline_seconds: float
    ) -> None:
        repository = context.repository_def
        if repository is None:
            raise ValueError("batch_resume needs its repository: build_sensor_context(repository_def=...)")
        self._instance = context.instance
        self._ledger = ledger
        self._hold = hold
        self._scope = hold_scope(ledger)
        self._deadline = time.monotonic() + deadline_seconds
        self._resumption = Resumption(context.instance, repository.asset_graph)
        self._location = getattr(context.code_location_origin, "location_name", None)
        self._statuses: dict[str | None, BulkActionStatus | None] = {}
        self.cursor = context.cursor or ""
        self.lines: list[str] = []

    def run(self) -> list[RunRequest]:
        """The run requests of this tick."""
        holds = open_holds(self._instance, self._scope)
        # In this order: a run that is finished when looked at has recorded its waits before.
        busy = has_unfinished_runs(self._instance, holds)
        waits = self._ledger.waits()
        families = self._families(waits)
        requests: list[RunRequest] = []
        ended: set[str] = set()
        statuses = self._look([wait for family in families for wait in family.waits], families)
        for family in families:
            ended |= self._end(family)
            family.waits = [
                wait for wait in family.waits if wait.wait_id not in ended and self._is_parked(family, wait)
            ]
            requests += self._resumption.requests(family, statuses)
        if len(requests) > MOST_REQUESTS:
            self.lines.append(f"{len(requests) - MOST_REQUESTS} runs are requested at the next tick")
            requests = requests[:MOST_REQUESTS]
        left = [wait for wait in waits if wait.wait_id not in ended]
        self._keep_holds(holds, busy, left)
        settled = sum(1 for status in statuses.values() if status and status.settled)
        plans = sum(len(wait.plans) for wait in left)
        self.lines.insert(
            0, f"{len(left)} parked, {plans} plan(s), {settled} settled, {len(requests)} run(s) requested"
        )
        return requests

    # ------------------------------------------------------------ what waits

    def _families(self, waits: list[Wait]) -> list[Family]:
        """The waits of this code location, under the runs that were parked first; canceled ones left out."""
        if not waits:
            return []
        parked = {
            run.run_id: run for run in self._instance.get_runs(RunsFilter(run_ids=[wait.run_id for wait in waits]))
        }
        firsts = {family_of(run) for run in parked.values()}
        resumed = self._instance.get_runs(RunsFilter(tags={FAMILY_TAG: sorted(firsts)})) if firsts else []
        missing = sorted(firsts - set(parked))
        known = {**parked, **{run.run_id: run for run in resumed}}
        if missing:
            known |= {run.run_id: run for run in self._instance.get_runs(RunsFilter(run_ids=missing))}
        families: dict[str, Family] = {}
        for wait in sorted(waits, key=lambda wait: wait.wait_id):
            run = parked.get(wait.run_id)
            if run is None:
                self.lines.append(
                    f"{wait.asset}: the run {wait.run_id} that waits is not in this Dagster instance; materialize it "
                    "again, nothing is bought twice"
                )
                continue
            if self._is_foreign(wait, run) or self._status(wait.backfill_id) in (
                BulkActionStatus.CANCELING,
                BulkActionStatus.CANCELED,
            ):
                continue
            first = known.get(family_of(run), run)
            if first.run_id not in families:
                runs = [first, *(child for child in reversed(resumed) if child.tags[FAMILY_TAG] == first.run_id)]
                families[first.run_id] = Family(first=first, runs=runs)
            family = families[first.run_id]
            family.waits.append(wait)
            if all(run.run_id != other.run_id for other in family.runs):
                family.runs.append(run)
        return list(families.values())

    def _is_foreign(self, wait: Wait, run: DagsterRun) -> bool:
        """The asset is another code location's, which shares the store."""
        if self._location is None or run.remote_job_origin is None:
            return False
        theirs = run.remote_job_origin.repository_origin.code_location_origin.location_name
        return theirs != self._location and self._resumption.is_unknown(wait.asset)

    def _is_parked(self, family: Family, wait: Wait) -> bool:
        """Its run has ended: until then other steps of it may be running."""
        return not any(run.run_id == wait.run_id and is_under_way(run) for run in family.runs)

    def _look(self, waits: list[Wait], families: list[Family]) -> dict[PlanRef, PlanStatus | None]:
        """The status of every plan that no run lands yet, as far as the time goes; the rest at the next tick."""
        of_wait = {wait.wait_id: family for family in families for wait in family.waits}
        todo = [
            (f"{wait.wait_id}/{number:06}", ref)
            for wait in waits
            for number, ref in enumerate(wait.plans)
            if ref.generation > 0 and of_wait[wait.wait_id].covering(wait, ref) is None
        ]
        todo.sort(key=lambda entry: (entry[0] <= self.cursor, entry[0]))  # what comes after the cursor first
        found: dict[PlanRef, PlanStatus | None] = {}
        for place in range(0, len(todo), _AT_ONCE):
            if time.monotonic() > self._deadline:
                self.lines.append(f"{len(todo) - place} plans are looked at in the next tick")
                return found
            part = todo[place : place + _AT_ONCE]
            found |= dict(
                zip((ref for _, ref in part), together(self._status_of, [ref for _, ref in part]), strict=True)
            )
            self.cursor = part[-1][0]
        self.cursor = ""
        return found

    def _status_of(self, ref: PlanRef) -> PlanStatus | None:
        try:
            return plan_status(self._ledger, ref)
        except (StoreError, FileNotFoundError) as error:
            self.lines.append(f"{ref.asset}, {ref.partition}: {error}")
            return None

    # ------------------------------------------------------------ what ends

    def _end(self, family: Family) -> set[str]:
        """End the waits that have nothing left to resume. Returns their ids."""
        ended = set()
        for wait in family.waits:
            gone: list[str] = []
            for ref in wait.plans:
                run = family.covering(wait, ref)
                if run is not None and is_under_way(run):
                    break
                if run is None:
                    why = self._resumption.why_gone(wait.asset, ref.partition)
                    if why is None:
                        break
                    gone.append(why)
            else:
                if gone:
                    reason = f"abandoned: {'; '.join(sorted(set(gone))[:5])}"
                    self.lines.append(f"{wait.asset}: {reason}")
                    self._instance.add_run_tags(wait.run_id, {ABANDONED_TAG: reason})
                self._ledger.end_wait(wait.wait_id)
                ended.add(wait.wait_id)
        return ended

    # ------------------------------------------------------------ holds

    def _keep_holds(self, holds: dict[str, DagsterRun], busy: set[str], waits: list[Wait]) -> None:
        """Release the holds of backfills that nothing waits for; take those that are missing."""
        waiting = {wait.backfill_id for wait in waits if wait.backfill_id}
        for backfill_id, hold in holds.items():
            status = self._status(backfill_id)
            if status in _ENDED:
                release_hold(self._instance, hold)
            elif status is not BulkActionStatus.REQUESTED:
                release_hold(self._instance, hold, canceled=True)
                self.lines.append(f"backfill {backfill_id} is {status.value if status else 'gone'}: released")
            elif backfill_id not in waiting and backfill_id not in busy:
                self._release(backfill_id, hold)
        for backfill_id in waiting - set(holds):
            if self._hold and backfill_id and is_open(self._instance, backfill_id):
                take_hold(self._instance, backfill_id, self._scope, "Waits for a provider's batches.")

    def _release(self, backfill_id: str, hold: DagsterRun) -> None:
        release_hold(self._instance, hold)
        self.lines.append(f"backfill {hold.tags[BACKFILL_ID_TAG]}: nothing waits any more")
        # A run may have parked since the waits were read.
        if has_unfinished_runs(self._instance, [backfill_id]) or any(
            wait.backfill_id == backfill_id for wait in self._ledger.waits()
        ):
            take_hold(self._instance, backfill_id, self._scope, "Waits for a provider's batches.")

    def _status(self, backfill_id: str | None) -> BulkActionStatus | None:
        if backfill_id not in self._statuses:
            self._statuses[backfill_id] = backfill_status(self._instance, backfill_id)
        return self._statuses[backfill_id]
