"""The run of a batch asset: plan and submit, then land or park; or, resumed, land what was planned.

A resumed run never reads the source: it may have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from dagster import (
    AssetExecutionContext,
    AssetKey,
    DagsterRunStatus,
    Failure,
    RetryRequested,
)
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import BACKFILL_ID_TAG

from batch_assets.dagster.checks import may_fail
from batch_assets.dagster.hold import is_canceled
from batch_assets.dagster.landing import Landings
from batch_assets.dagster.parking import check_resumable, park, resumed_waits
from batch_assets.dagster.provenance import input_tags
from batch_assets.dagster.providers import BatchProviderResource
from batch_assets.dagster.rows import record_batches
from batch_assets.dagster.store import STORE_KEY, BatchStore
from batch_assets.dagster.upstream import Upstream, UpstreamLoader
from batch_assets.engine import completion_seconds, plan_partition, plan_status, submit_waiting, wait_for
from batch_assets.errors import BatchAssetsError, ConfigError, InputError, PlanRefused, StoreError
from batch_assets.records import PlanRef

if TYPE_CHECKING:
    import pyarrow as pa

    from batch_assets.dagster.checks import BatchChecks
    from batch_assets.engine import AssetSpec
    from batch_assets.ledger import Ledger
    from batch_assets.providers.protocol import Provider
    from batch_assets.records import PlanStatus

_Kind = TypeVar("_Kind")

PROVIDER_METADATA = "batch_assets/provider"
"""On the definition of every batch asset."""

_FOR_A_PERSON = (ConfigError, InputError, PlanRefused)
"""Another attempt by itself changes nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """The user's function, and what it is called with."""

    function: Callable[..., Any]
    upstreams: Mapping[str, AssetKey]
    resources: tuple[str, ...]
    context: bool
    metadata: Mapping[AssetKey, Mapping[str, Any]]
    """Of the inputs, by the asset above; as in `AssetIn(metadata=...)`."""

    def rows(
        self, context: AssetExecutionContext, loader: UpstreamLoader, partition: str | None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one partition. The function is called when the first batch is asked for."""
        arguments: dict[str, Any] = {name: loader.upstream(key, partition) for name, key in self.upstreams.items()}
        arguments |= {name: getattr(context.resources, name) for name in self.resources}
        if self.context:
            arguments["context"] = context
        rows = self.function(**arguments)
        if rows is None:
            raise InputError(f"{context.asset_key.to_user_string()} returned None; return the rows of the partition")
        yield from rows.batches() if isinstance(rows, Upstream) else record_batches(rows)


@dataclass(kw_only=True)
class _Night:
    """One run of one batch asset."""

    context: AssetExecutionContext
    spec: AssetSpec
    source: Source
    store: BatchStore
    ledger: Ledger
    provider: Provider
    checks: BatchChecks | None
    preview_rows: int
    failures: dict[str | None, Exception] = field(default_factory=dict)
    """Partitions that could not be planned."""
    made: list[PlanRef] = field(default_factory=list)
    """The plans of this run so far: until it is parked, nobody waits for them."""
    provenance: dict[str, str] = field(default_factory=dict)
    """What the plans were made from, where they were made by another run or wait for another one."""
    last_note: str = ""
    """The last that was said while the run waited itself."""

    @property
    def partitions(self) -> list[str | None]:
        if self.context.assets_def.partitions_def is None:
            return [None]
        return [str(key) for key in self.context.partition_keys]  # plain texts: a MultiPartitionKey is a subclass

    def refs(self) -> list[PlanRef]:
        """The plan of each partition: those that the run resumes, else the ones that it makes now."""
        resumed = self._resumed()
        if self.store.wait_seconds is None and set(self.partitions) - set(resumed):
            self.provenance = input_tags(self.context)
            check_resumable(self.context)  # before planning: what a plan leaves waiting is sent by the next advance
        return [
            resumed[partition] if partition in resumed else self._planned(partition) for partition in self.partitions
        ]

    def _resumed(self) -> dict[str | None, PlanRef]:
        """Plans by partition. Generation 0 stands for a partition that could not be planned: its run plans again."""
        wait_ids = resumed_waits(self.context.run)
        if not wait_ids:
            return {}
        waits = [wait for wait in self.ledger.waits() if wait.wait_id in wait_ids and wait.asset == self.spec.asset]
        for wait in waits:
            self.provenance |= wait.provenance
        return {ref.partition: ref for wait in waits for ref in wait.plans if ref.generation > 0}

    def _planned(self, partition: str | None) -> PlanRef:
        try:
            plan = plan_partition(
                self.ledger,
                self.provider,
                self.spec,
                partition,
                self.source.rows(self.context, UpstreamLoader(self.context, self.source.metadata), partition),
                refresh=bool((self.context.op_execution_context.op_config or {}).get("refresh")),
            )
        except (ConfigError, StoreError, RetryRequested):
            raise
        except Exception as error:
            if len(self.partitions) == 1:
                raise
            self.context.log.exception(f"{self.spec.asset}: partition {partition} cannot be planned: {error}")
            self.failures[partition] = error
            return PlanRef(asset=self.spec.asset, partition=partition, generation=0)
        self.made.append(plan.ref)
        verb = f"refused: {plan.refused}" if plan.refused else f"{len(plan.shards)} batch(es) to send"
        self.context.log.info(
            f"{self.spec.asset}{f', {partition}' if partition else ''}: {plan.rows} rows, {plan.requests} requests, "
            f"{plan.reused} of them known already; estimated ${plan.estimate.usd}; {verb}"
        )
        if plan.account != self.provider.account and not plan_status(self.ledger, plan.ref).settled:
            self.last_note = (
                f"{self.spec.asset}: the same requests are under way at {plan.account} already, by the resource "
                f"{plan.provider!r}, and are waited for there: keep that resource among the definitions until they "
                "have ended, or give them up with the job batch_cancel"
            )
            self.context.log.warning(self.last_note)
        return plan.ref

    def statuses(self, refs: list[PlanRef]) -> list[PlanStatus]:
        return [plan_status(self.ledger, ref) for ref in refs if ref.generation > 0]

    def land(self, refs: list[PlanRef]) -> Iterator[Any]:
        """Publish the tables."""
        yield from Landings(
            context=self.context,
            spec=self.spec,
            above=tuple(self.source.upstreams.values()),
            tables=self.store.table_store(),
            ledger=self.ledger,
            console_url=self.provider.console_url,
            realtime=self.provider.limits.realtime,
            checks=self.checks,
            preview_rows=self.preview_rows,
            provenance=self.provenance,
        ).land(refs)

    def run(self) -> Iterator[Any]:
        """Plan, submit, and land or park."""
        refs = self.refs()
        if len(self.failures) == len(refs):
            raise next(iter(self.failures.values()))
        statuses = self.statuses(refs)
        if not all(status.settled for status in statuses):
            statuses = self._send(refs, statuses)
        refused = [status for status in statuses if status.refused]
        if len(refs) == 1 and refused:
            raise PlanRefused(str(refused[0].refused))
        if (
            all(status.settled for status in statuses)
            and not refused
            and not self.failures
            and not self._one_may_fail_all(statuses)
        ):
            yield from self.land(refs)
            return
        if self.store.wait_seconds is not None:
            self._raise_waited(statuses)
        park(
            self.context,
            self.ledger,
            refs,
            statuses,
            hold=self.store.hold == "auto",
            window_seconds=completion_seconds(self.provider.limits),
            provenance=self.provenance,
        )

    def interrupted(self) -> None:
        """Give up what this run has planned if somebody canceled it: else the next advance would send it."""
        instance, run = self.context.instance, self.context.instance.get_run_by_id(self.context.run.run_id)
        canceled = (run and run.status is DagsterRunStatus.CANCELING) or is_canceled(
            instance, self.context.run.tags.get(BACKFILL_ID_TAG)
        )
        if not canceled or self.store.wait_seconds is not None:
            return  # its machine stops, say, and it is tried again; or it waits itself, and can be gone on with
        wanted = {ref for wait in self.ledger.waits() for ref in wait.plans}
        for ref in self.made:
            if ref not in wanted and not plan_status(self.ledger, ref).settled:
                self.ledger.mark_canceled(ref, self.ledger.plan(ref).account)

    def _one_may_fail_all(self, statuses: list[PlanStatus]) -> bool:
        """Whether a blocking check on one partition could fail the run of all: parked, it lands in a run of its own."""
        if len(statuses) == 1 or self.store.wait_seconds is not None:
            return False
        return any(may_fail(status, self.checks, self.spec.max_cost_usd) for status in statuses)

    def _send(self, refs: list[PlanRef], statuses: list[PlanStatus]) -> list[PlanStatus]:
        if self.store.wait_seconds is None:
            sent = submit_waiting(self.ledger, self.provider, log=self.context.log.info)
            self.context.log.info(f"{sent} batch(es) sent to {self.provider.name}")
            return self.statuses(refs)
        open_refs = [status.ref for status in statuses if not status.settled]
        wait_for(
            self.ledger,
            self.provider,
            open_refs,
            timeout_seconds=self.store.wait_seconds,
            interval_seconds=min(5.0, self.store.wait_seconds / 20),
            on_progress=self._log_progress,
            log=self._note,
        )
        return self.statuses(refs)

    def _note(self, line: str) -> None:
        self.context.log.info(line)
        self.last_note = line

    def _log_progress(self, statuses: list[PlanStatus]) -> None:
        done, total = sum(status.results for status in statuses), sum(status.requests for status in statuses)
        self.context.log.debug(f"{self.spec.asset}: {done} of {total} results")

    def _raise_waited(self, statuses: list[PlanStatus]) -> None:
        """A run that waits itself and does not end well ends as a failure: nothing would resume it."""
        for error in self.failures.values():
            raise error
        for status in statuses:
            if status.refused:
                raise PlanRefused(f"{status.ref.partition}: {status.refused}")
        done, total = sum(status.results for status in statuses), sum(status.requests for status in statuses)
        why = "; ".join(dict.fromkeys(reason for status in statuses for reason in status.reasons)) or self.last_note
        raise Failure(
            f"{self.spec.asset}: {done} of {total} results after wait_seconds={self.store.wait_seconds:g}. "
            + (f"{why.rstrip('.')}. " if why else "The batches go on at the provider. ")
            + "Run it again to go on waiting, nothing is bought twice."
        )


def materialize(
    context: AssetExecutionContext,
    spec: AssetSpec,
    source: Source,
    *,
    checks: BatchChecks | None = None,
    preview_rows: int = 0,
) -> Iterator[Any]:
    """The body of a batch asset's step: the materialization, then the checks' results. Yields nothing if it parks."""
    graph = context.job_def.asset_layer.asset_graph
    above = [graph.get(key) for key in source.upstreams.values() if graph.has(key)]
    spec = replace(
        spec,
        asset=context.asset_key.to_user_string(),
        reads_batch_table=any(PROVIDER_METADATA in node.metadata for node in above),
    )
    night = None
    try:
        store = _resource(context, STORE_KEY, BatchStore)
        account = _resource(context, spec.provider, BatchProviderResource)  # type: ignore[type-abstract]  # any of them
        provider = account.provider(spec.provider)
        night = _Night(
            context=context,
            spec=spec,
            source=source,
            store=store,
            ledger=store.ledger(),
            provider=provider,
            checks=checks,
            preview_rows=preview_rows,
        )
        yield from night.run()
    except (DagsterExecutionInterruptedError, KeyboardInterrupt):
        if night is not None:
            night.interrupted()
        raise
    except _FOR_A_PERSON as error:
        raise Failure(str(error), metadata={"batch_assets/error": type(error).__name__}, allow_retries=False) from error
    except BatchAssetsError as error:
        raise Failure(str(error), metadata={"batch_assets/error": type(error).__name__}) from error


def _resource(context: AssetExecutionContext, key: str, kind: type[_Kind]) -> _Kind:
    resource = getattr(context.resources, key)
    if not isinstance(resource, kind):
        raise ConfigError(f"the resource {key!r} is a {type(resource).__name__}; it must be a {kind.__name__}")
    return resource
