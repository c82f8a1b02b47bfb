"""The two jobs: `batch_advance` does an account's heavy work, `batch_cancel` is a person's way to give up a night."""

from collections.abc import Mapping
from typing import Any

from dagster import (
    AssetKey,
    Config,
    DagsterInstance,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    build_resources,
    job,
    op,
)
from dagster import in_process_executor as in_process
from pydantic import Field

from batch_assets.dagster.hold import fail_given_up
from batch_assets.dagster.parking import ABANDONED_TAG
from batch_assets.dagster.providers import BatchProviderResource
from batch_assets.dagster.store import STORE_KEY, BatchStore
from batch_assets.dagster.waiting import end_waits
from batch_assets.engine import advance_account
from batch_assets.errors import ConfigError
from batch_assets.records import Wait

ADVANCE_JOB = "batch_advance"
CANCEL_JOB = "batch_cancel"
ACCOUNT_TAG = "batch_assets/account"

_ADVANCE_OP = "batch_advance_account"
_CANCEL_OP = "batch_cancel_plans"


class AdvanceConfig(Config):
    """What one batch_advance run works on."""

    provider: str = Field(description="Resource key of the provider whose account is advanced.")


class CancelConfig(Config):
    """What is given up."""

    asset: str = Field(description="Key of the batch asset, its parts joined by `/`.")
    partitions: list[str] = Field(default=[], description="Partitions to give up; none: all that wait.")


def advance_config(provider: str) -> dict[str, Any]:
    """The run config of batch_advance for one provider."""
    return {"ops": {_ADVANCE_OP: {"config": {"provider": provider}}}}


def advance_job(providers: Mapping[str, BatchProviderResource], store: BatchStore) -> JobDefinition:
    """The job that harvests, retries, admits and submits for one provider account."""

    @op(name=_ADVANCE_OP, out=Out(Nothing))  # nothing for the IO manager of the location, which may take tables only
    def advance(context: OpExecutionContext, config: AdvanceConfig) -> None:
        resource = providers.get(config.provider)
        if resource is None:
            raise ConfigError(f"there is no provider {config.provider!r}; the resources are {sorted(providers)}")
        # Only this provider is initialised: another one's missing key does not stop it.
        with build_resources({STORE_KEY: store, config.provider: resource}, instance=context.instance) as resources:
            ledger = getattr(resources, STORE_KEY).ledger()
            provider = getattr(resources, config.provider).provider(config.provider)
            summary = advance_account(ledger, provider, log=context.log.info)
        context.log.info(summary)

    @job(name=ADVANCE_JOB, executor_def=in_process, description=advance_job.__doc__)
    def batch_advance() -> None:
        advance()

    return batch_advance


def cancel_job(providers: Mapping[str, BatchProviderResource], store: BatchStore) -> JobDefinition:
    """The job that cancels what parked runs wait for. What the provider has finished is kept for the next run."""

    @op(name=_CANCEL_OP, out=Out(Nothing))
    def cancel(context: OpExecutionContext, config: CancelConfig) -> None:
        with build_resources({STORE_KEY: store}, instance=context.instance) as resources:
            ledger = getattr(resources, STORE_KEY).ledger()
        waits = ledger.waits()
        unwanted = [
            wait
            for wait in waits
            if wait.asset == config.asset
            and (not config.partitions or any(ref.partition in config.partitions for ref in wait.plans))
        ]
        if not unwanted:
            context.log.info(f"Nothing waits for {config.asset} {config.partitions or ''}")
            return
        partial = [
            wait
            for wait in unwanted
            if config.partitions and {ref.partition for ref in wait.plans} - set(config.partitions)
        ]
        if partial:
            others = sorted({str(ref.partition) for wait in partial for ref in wait.plans} - set(config.partitions))
            raise ConfigError(
                f"one run waits for {config.partitions} and for {others}: its range lands together. Give up all "
                "of them, or let it finish"
            )
        wanted = {ref for wait in waits if wait not in unwanted for ref in wait.plans}
        names = {ledger.plan(ref).provider for wait in unwanted for ref in wait.plans if ref.generation > 0}
        if missing := sorted(names - set(providers)):
            raise ConfigError(f"the plan was sent to {missing[0]!r}, which is no resource now: {sorted(providers)}")
        for wait in unwanted:  # before it ends: what is cut off here is done again by the next batch_cancel
            _tell_dagster(context.instance, wait, f"canceled by run {context.run.run_id}")
        for name in sorted(names):
            with build_resources({name: providers[name]}, instance=context.instance) as resources:
                plans = end_waits(ledger, getattr(resources, name).provider(name), unwanted, wanted)
            context.log.info(f"{name}: {plans} plan(s) canceled")
        for wait in unwanted:
            ledger.end_wait(wait.wait_id)

    @job(name=CANCEL_JOB, executor_def=in_process, description=cancel_job.__doc__)
    def batch_cancel() -> None:
        cancel()

    return batch_cancel


def _tell_dagster(instance: DagsterInstance, wait: Wait, why: str) -> None:
    run = instance.get_run_by_id(wait.run_id)
    if run is not None:
        instance.add_run_tags(run.run_id, {ABANDONED_TAG: why})
        fail_given_up(instance, run, AssetKey.from_user_string(wait.asset), f"{wait.asset} was {why}")
