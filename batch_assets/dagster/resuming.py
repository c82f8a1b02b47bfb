"""Which runs to request for parked runs whose plans have settled. Reads the store and Dagster, changes neither.

A run that was parked first, and the runs that resume it, are one family. A step below several parked assets runs with
the last of them: it is selected only where each step above it, that its family had planned, runs in the same request
or has been materialized by the family.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterEventType, DagsterRun, MultiPartitionsDefinition, RunRequest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

from batch_assets.dagster.asset import checks_of, spec_of
from batch_assets.dagster.checks import may_fail
from batch_assets.dagster.parking import FAMILY_TAG, RESUMES_TAG, planned_assets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dagster import DagsterInstance, PartitionsDefinition
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

    from batch_assets.records import PlanRef, PlanStatus, Wait

_KEPT_TAGS = ("dagster/priority", "dagster/max_retries", "dagster/retry_strategy", "dagster/max_runtime")


@dataclass(kw_only=True)
class Family:
    """A run that was parked first, the runs that resume it, and what is left to resume."""

    first: DagsterRun
    runs: list[DagsterRun]
    """Oldest first, the first run among them."""
    waits: list[Wait] = field(default_factory=list)

    def covering(self, wait: Wait, ref: PlanRef) -> DagsterRun | None:
        """The newest run that was made to resume this plan."""
        found = None
        for run in self.runs:
            if wait.wait_id in run.tags.get(RESUMES_TAG, "").split() and ref in plans_of_run(wait, run):
                found = run
        return found


def plans_of_run(wait: Wait, run: DagsterRun) -> tuple[PlanRef, ...]:
    """The plans of the wait that lie in the run's partition or range."""
    keys = [ref.partition for ref in wait.plans]
    start = run.tags.get(ASSET_PARTITION_RANGE_START_TAG, run.tags.get(PARTITION_NAME_TAG))
    end = run.tags.get(ASSET_PARTITION_RANGE_END_TAG, run.tags.get(PARTITION_NAME_TAG))
    if start not in keys or end not in keys:
        return ()
    return wait.plans[keys.index(start) : keys.index(end) + 1]


def is_under_way(run: DagsterRun) -> bool:
    """It has not finished, or will be retried by Dagster."""
    return not run.is_finished or run.is_complete_and_waiting_to_retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A plan that can be landed, and the wait that names it."""

    wait: Wait
    ref: PlanRef
    alone: bool
    """It will or may fail, or be planned again: in a run of its own."""

    @property
    def key(self) -> AssetKey:
        """The asset."""
        return AssetKey.from_user_string(self.wait.asset)


class Resumption:
    """The run requests of one tick."""

    def __init__(self, instance: DagsterInstance, graph: AssetGraph) -> None:
        self._instance = instance
        self._graph = graph
        self._materialized: dict[str, AbstractSet[tuple[AssetKey, str | None]]] = {}
        self._planned: dict[str, AbstractSet[AssetKey]] = {}

    def is_unknown(self, asset: str) -> bool:
        """No asset of this code location has the key."""
        return not self._graph.has(AssetKey.from_user_string(asset))

    def why_gone(self, asset: str, partition: str | None) -> str | None:
        """Why nothing can be requested for a partition of an asset; None if it can be."""
        key = AssetKey.from_user_string(asset)
        if not self._graph.has(key) or not self._graph.get(key).is_executable:
            return f"the asset {asset} is no longer defined"
        return _why_gone(self._graph.get(key).partitions_def, partition, self._instance)

    def requests(self, family: Family, statuses: Mapping[PlanRef, PlanStatus | None]) -> list[RunRequest]:
        """Requests for what has settled and was not requested yet. `statuses` has None for a plan not looked at."""
        ready: dict[str | None, list[Ready]] = defaultdict(list)
        for wait in family.waits:
            for ref in wait.plans:
                status = statuses.get(ref)
                replan = ref.generation == 0
                if not replan and (status is None or not status.settled):
                    continue
                if family.covering(wait, ref) is not None or self.why_gone(wait.asset, ref.partition):
                    continue
                alone = replan or (status is not None and self._fails_alone(wait.asset, status))
                ready[ref.partition].append(Ready(wait=wait, ref=ref, alone=alone))
        chosen: dict[tuple[bool, tuple[str, ...], tuple[AssetKey, ...]], list[list[Ready]]] = defaultdict(list)
        for partition, found in ready.items():
            together = [entry for entry in found if not entry.alone]
            for entries in [*([entry] for entry in found if entry.alone), *([together] if together else [])]:
                selection = self._selection(family, partition, entries)
                if selection is not None:
                    waits = tuple(sorted(entry.wait.wait_id for entry in entries))
                    chosen[entries[0].alone, waits, selection].append(entries)
        requests = []
        for (alone, _, selection), entries_by_partition in chosen.items():
            runs = self._runs(selection, entries_by_partition, alone=alone)
            requests += [_request(family, selection, entries) for entries in runs]
        return requests

    def _fails_alone(self, asset: str, status: PlanStatus) -> bool:
        """Whether the landing will fail, or a blocking check may: then no other partition is to fail with it."""
        definition = self._graph.get(AssetKey.from_user_string(asset)).assets_def
        spec = spec_of(definition)
        if status.refused is not None or spec is None:
            return status.refused is not None
        return may_fail(status, checks_of(definition), spec.max_cost_usd)

    def _selection(self, family: Family, partition: str | None, entries: list[Ready]) -> tuple[AssetKey, ...] | None:
        """What to run; None if a run of the family has first to finish."""
        chosen = {entry.key for entry in entries}
        below = {AssetKey.from_user_string(name) for entry in entries for name in entry.wait.downstream} - chosen
        below = {key for key in below if self._graph.has(key)}
        own = self._graph.get(entries[0].key).partitions_def
        below = {key for key in below if self._graph.get(key).partitions_def in (None, own)}
        if not below:
            return tuple(sorted(chosen))
        running = self._running(family, partition) - chosen
        if running and any(running & self._planned_above(family, key) for key in below):
            return None
        for level in self._graph.toposorted_asset_keys_by_level:
            for key in sorted(below & set(level)):
                parents = self._graph.get(key).parent_keys - chosen
                if all(self._is_done(family, parent, partition) for parent in parents):
                    chosen.add(key)
        return tuple(sorted(chosen))

    def _is_done(self, family: Family, key: AssetKey, partition: str | None) -> bool:
        if key not in self._planned_by(family):
            return True
        done = self._materialized_by(family)
        return (key, partition) in done or (key, None) in done

    def _running(self, family: Family, partition: str | None) -> set[AssetKey]:
        running: set[AssetKey] = set()
        for run in family.runs:
            if is_under_way(run) and (run is family.first or _covers(run, partition, family)):
                running |= set(run.asset_selection or self._planned_by(family))
        return running

    def _planned_above(self, family: Family, key: AssetKey) -> AbstractSet[AssetKey]:
        planned, found, todo = self._planned_by(family), set[AssetKey](), [key]
        while todo:
            for parent in self._graph.get(todo.pop()).parent_keys:
                if parent in planned and parent not in found and self._graph.has(parent):
                    found.add(parent)
                    todo.append(parent)
        return found

    def _planned_by(self, family: Family) -> AbstractSet[AssetKey]:
        run_id = family.first.run_id
        if run_id not in self._planned:
            self._planned[run_id] = planned_assets(self._instance, run_id)
        return self._planned[run_id]

    def _materialized_by(self, family: Family) -> AbstractSet[tuple[AssetKey, str | None]]:
        run_id = family.first.run_id
        if run_id not in self._materialized:
            self._materialized[run_id] = {
                (event.asset_key, event.partition)
                for run in family.runs
                for entry in self._instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
                if (event := entry.dagster_event) is not None and event.asset_key is not None
            }
        return self._materialized[run_id]

    def _runs(
        self, selection: tuple[AssetKey, ...], found: list[list[Ready]], *, alone: bool
    ) -> Iterable[list[list[Ready]]]:
        """Cut into runs: contiguous ranges where the partitions have one dimension, else one each."""
        partitions_def = self._graph.get(found[0][0].key).partitions_def
        if alone or len(found) == 1 or partitions_def is None or isinstance(partitions_def, MultiPartitionsDefinition):
            yield from ([entries] for entries in found)
            return
        with partition_loading_context(dynamic_partitions_store=self._instance):
            order = {key: place for place, key in enumerate(partitions_def.get_partition_keys())}
        run: list[list[Ready]] = []
        for entries in sorted(found, key=lambda entries: order[str(entries[0].ref.partition)]):
            if run and order[str(entries[0].ref.partition)] != order[str(run[-1][0].ref.partition)] + 1:
                yield run
                run = []
            run.append(entries)
        yield run


def _request(family: Family, selection: Sequence[AssetKey], found: list[list[Ready]]) -> RunRequest:
    first = family.first
    waits = sorted({entry.wait.wait_id for entries in found for entry in entries})
    tags = {key: value for key, value in first.tags.items() if _is_kept(key)}
    tags |= {FAMILY_TAG: first.run_id, RESUMES_TAG: " ".join(waits)}
    if backfill_id := first.tags.get(BACKFILL_ID_TAG):
        tags[BACKFILL_ID_TAG] = backfill_id
    start, end = found[0][0].ref.partition, found[-1][0].ref.partition
    if start is not None and start != end:
        tags |= {ASSET_PARTITION_RANGE_START_TAG: start, ASSET_PARTITION_RANGE_END_TAG: str(end)}
    plans = [
        f"{entry.ref.asset}/{entry.ref.partition}/{entry.ref.generation}" for entries in found for entry in entries
    ]
    digest = hashlib.sha256("\n".join([*waits, *sorted(plans)]).encode()).hexdigest()[:16]
    return RunRequest(
        run_key=f"{found[0][0].wait.run_id}:{found[0][0].ref.asset}:{start}:{digest}",
        partition_key=start if start == end else None,
        asset_selection=list(selection),
        run_config=_config_for(first.run_config, selection),
        tags=tags,
    )


def _is_kept(key: str) -> bool:
    """A person's own tags go along; Dagster's and ours are made anew."""
    if key in _KEPT_TAGS:
        return True
    return not key.startswith(("dagster/", ".dagster/", "batch_assets/"))


def _config_for(run_config: Mapping[str, Any], selection: Iterable[AssetKey]) -> dict[str, Any]:
    """The run's config without the ops that do not run."""
    names = {key.to_python_identifier() for key in selection}
    ops = {name: config for name, config in run_config.get("ops", {}).items() if name in names}
    rest = {key: value for key, value in run_config.items() if key != "ops"}
    return {**rest, "ops": ops} if ops else rest


def _covers(run: DagsterRun, partition: str | None, family: Family) -> bool:
    waits = run.tags.get(RESUMES_TAG, "").split()
    plans = [ref for wait in family.waits if wait.wait_id in waits for ref in plans_of_run(wait, run)]
    return not plans or any(ref.partition == partition for ref in plans)


def _why_gone(
    partitions_def: PartitionsDefinition[Any] | None, partition: str | None, instance: DagsterInstance
) -> str | None:
    if partition is None:
        return None if partitions_def is None else "the asset has partitions now"
    if partitions_def is None:
        return f"the asset has no partitions any more, {partition!r} neither"
    with partition_loading_context(dynamic_partitions_store=instance):
        if partitions_def.has_partition_key(partition):
            return None
    return f"the partition {partition!r} does not exist any more"
