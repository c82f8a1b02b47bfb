"""A Dagster instance on disk, a code location loaded from a file, and the daemons, ticked by hand."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_key import AssetKey
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.instance_for_test import instance_for_test
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_backfill_id
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget, PythonFileTarget
from dagster._daemon.asset_daemon import AssetDaemon
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._daemon.types import DaemonHeartbeat
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster._time import get_current_timestamp

PIPELINES = Path(__file__).parent / "pipelines"
_CONFIG = {
    "run_coordinator": {
        "module": "dagster._core.run_coordinator.queued_run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"max_concurrent_runs": -1},
    },
    # Else Dagster starts two processes for each run.
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
    "telemetry": {"enabled": False},
}
# As a deployment has it; Dagster's default on a disk is one for each run.
_ONE_DATABASE = {
    "module": "dagster._core.storage.event_log",
    "class": "ConsolidatedSqliteEventLogStorage",
}


class World:
    """One instance and one code location."""

    def __init__(self, instance: dg.DagsterInstance, workspace: Any) -> None:
        self.instance = instance
        self._workspace = workspace
        self._queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        self._log = logging.getLogger("tests.dagster.world")
        self._log.setLevel(logging.CRITICAL)
        self._queue._logger = self._log
        self.beat()

    def beat(self) -> None:
        """The sensor daemon says that it lives."""
        self.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", None, None))

    @property
    def graph(self) -> Any:
        return self._workspace.create_request_context().asset_graph

    # ------------------------------------------------------------ daemons

    def backfills(self) -> None:
        errors = [error for error in execute_backfill_iteration(self._workspace, self._log) if error]
        assert not errors, errors

    def queue(self) -> None:
        for _ in self._queue.run_iteration(self._workspace):
            pass

    def sensors(self) -> None:
        for state in self.instance.all_instigator_state():  # as if the minimum interval had passed
            data = state.instigator_data
            if data is not None and getattr(data, "last_tick_start_timestamp", None):
                long_ago = data.last_tick_start_timestamp - 1000
                later = data._replace(last_tick_start_timestamp=long_ago, last_tick_timestamp=long_ago)
                self.instance.update_instigator_state(state.with_data(later))
        errors = [
            error
            for error in execute_sensor_iteration(
                self._workspace, self._log, threadpool_executor=None, submit_threadpool_executor=None
            )
            if error
        ]
        assert not errors, errors

    def automation(self, at: datetime) -> None:
        """One evaluation of the automation conditions, at a time that is given."""
        daemon = AssetDaemon(settings=self.instance.get_auto_materialize_settings(), pre_sensor_interval_seconds=0)
        with freeze_time(at):
            daemon._run_iteration_impl(
                self._workspace, threadpool_executor=None, amp_tick_futures={}, debug_crash_flags={}
            )

    def schedule(self, name: str, at: datetime) -> None:
        """Turn a schedule on a minute before, and let it tick."""
        location = self._workspace.create_request_context().get_code_location("pipeline")
        (repository,) = location.get_repositories().values()
        with freeze_time(at - timedelta(minutes=1)):
            self.instance.start_schedule(repository.get_schedule(name))
        with freeze_time(at):
            errors = [error for error in launch_scheduled_runs(self._workspace, self._log, at, {}) if error]
        assert not errors, errors

    def round(self, *, sensors: bool = True, times: int = 1) -> None:
        """What all daemons do in one minute."""
        for _ in range(times):
            if sensors:
                self.sensors()
            self.queue()
            self.backfills()
            self.queue()

    def until_ended(self, backfill_id: str, *, rounds: int = 15) -> str:
        for _ in range(rounds):
            if self.status(backfill_id) != "REQUESTED":
                break
            self.round()
        return self.status(backfill_id)

    # ------------------------------------------------------------ what people do

    def materialize(self, asset: str) -> None:
        """One asset without partitions, at once."""
        repository = self.repository()
        job = repository.get_implicit_job_def_for_assets([AssetKey(asset)])
        assert job is not None
        assert job.execute_in_process(instance=self.instance, asset_selection=[AssetKey(asset)]).success

    def backfill(self, assets: Sequence[str], partitions: Sequence[str] | None) -> str:
        backfill_id = make_new_backfill_id()
        self.instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                asset_graph=self.graph,
                backfill_id=backfill_id,
                tags={},
                backfill_timestamp=get_current_timestamp(),
                asset_selection=[AssetKey(key.split("/")) for key in assets],
                partition_names=partitions,
                dynamic_partitions_store=self.instance,
                all_partitions=partitions is None,
                title=None,
                description=None,
                run_config=None,
            )
        )
        return backfill_id

    def cancel(self, backfill_id: str) -> None:
        """What the button in the UI does."""
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        self.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))

    def re_execute(self, run: dg.DagsterRun) -> str:
        """What the button on a run's page does. Returns the new run's id."""
        context = self._workspace.create_request_context()
        location = context.get_code_location("pipeline")
        selector = JobSubsetSelector(
            location_name="pipeline",
            repository_name=next(iter(location.get_repositories())),
            job_name=run.job_name,
            op_selection=None,
            asset_selection=run.asset_selection,
        )
        again = self.instance.create_reexecuted_run(
            request_context=context,
            parent_run=run,
            code_location=location,
            remote_job=location.get_job(selector),
            strategy=ReexecutionStrategy.ALL_STEPS,
            use_parent_run_tags=True,
        )
        self.instance.submit_run(again.run_id, context)
        return again.run_id

    def repository(self) -> dg.RepositoryDefinition:
        """The definitions, in this process."""
        (origin,) = self._workspace.create_request_context().code_locations
        return next(iter(origin._loaded_repositories.definitions_by_name.values()))

    # ------------------------------------------------------------ what people see

    def status(self, backfill_id: str) -> str:
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        return backfill.status.value

    def progress(self, backfill_id: str) -> dict[str, dict[str, int]]:
        """Materialized and failed partitions by asset."""
        backfill = self.instance.get_backfill(backfill_id)
        assert backfill is not None
        found = {}
        for status in backfill.get_asset_backfill_data(self.graph).get_backfill_status_per_asset_key(self.graph):
            counts = getattr(status, "partitions_counts_by_status", None)
            if counts is not None:
                found[status.asset_key.to_user_string()] = {key.name: value for key, value in counts.items() if value}
            else:
                found[status.asset_key.to_user_string()] = {str(getattr(status.backfill_status, "name", None)): 1}
        return found

    def runs(self, **tags: str) -> list[dg.DagsterRun]:
        """Oldest first."""
        return list(reversed(self.instance.get_runs(dg.RunsFilter(tags=tags or None))))

    def run_states(self) -> Counter[str]:
        return Counter(run.status.value for run in self.runs())

    def selections(self) -> list[str]:
        """What each run ran, oldest first: `a,b [partition or range]`."""
        lines = []
        for run in self.runs():
            if run.asset_selection:
                keys = ",".join(sorted(key.to_user_string() for key in run.asset_selection))
            else:
                keys = run.job_name
            start = run.tags.get("dagster/asset_partition_range_start", run.tags.get("dagster/partition", ""))
            end = run.tags.get("dagster/asset_partition_range_end", start)
            lines.append(f"{keys} [{start if start == end else f'{start}..{end}'}] {run.status.value}")
        return lines

    def ticks(self, sensor: str) -> list[Any]:
        """Newest first."""
        (state,) = [state for state in self.instance.all_instigator_state() if state.instigator_name == sensor]
        return list(self.instance.get_ticks(state.instigator_origin_id, state.selector_id))

    def observations(self, asset: str) -> list[dict[str, Any]]:
        """Metadata of the asset's observations, newest first."""
        records = self.instance.fetch_observations(AssetKey(asset.split("/")), limit=100).records
        events = [record.asset_observation for record in records]
        return [{name: value.value for name, value in event.metadata.items()} for event in events if event]

    def materializations(self, asset: str) -> dict[str | None, dict[str, Any]]:
        """Metadata of the newest materialization by partition."""
        key = AssetKey(asset.split("/"))
        records = self.instance.fetch_materializations(key, limit=500, ascending=True).records
        return {
            record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
            for record in records
        }


@contextmanager
def world(pipeline: str, folder: Path, *, code_server: bool = False) -> Iterator[World]:
    """A fresh instance under `folder/home`; entered again, the same one. `code_server`: code in a process of its own.

    The pipeline's file is copied into the folder: Dagster keeps what it has loaded from a path for the whole process.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    copy = shutil.copy(PIPELINES / pipeline, folder)
    target: Any
    if code_server:
        target = PythonFileTarget(str(copy), attribute=None, working_directory=str(folder), location_name="pipeline")
    else:
        loadable = LoadableTargetOrigin(
            executable_path=sys.executable, python_file=str(copy), working_directory=str(folder)
        )
        target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(loadable, location_name="pipeline"))
    events = {**_ONE_DATABASE, "config": {"base_dir": str(home)}}
    with (
        instance_for_test(
            temp_dir=str(home), overrides={**_CONFIG, "event_log_storage": events}, synchronous_run_launcher=True
        ) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        yield World(instance, workspace)
