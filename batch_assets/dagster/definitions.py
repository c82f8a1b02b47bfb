"""`batch_definitions`: Definitions with the engine in them, once per code location."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSelection,
    Definitions,
    ExecutorDefinition,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
    build_schedule_from_partitioned_job,
    define_asset_job,
)

from batch_assets.dagster.asset import spec_of
from batch_assets.dagster.io_manager import TABLES_KEY, store_tables
from batch_assets.dagster.jobs import advance_job, cancel_job
from batch_assets.dagster.providers import BatchProviderResource
from batch_assets.dagster.sensors import poll_sensor, resume_sensor
from batch_assets.dagster.store import STORE_KEY, BatchStore
from batch_assets.errors import ConfigError


def batch_definitions(
    *,
    assets: Iterable[Any] = (),
    resources: Mapping[str, Any] | None = None,
    asset_checks: Iterable[Any] = (),
    sensors: Iterable[Any] = (),
    schedules: Iterable[Any] = (),
    jobs: Iterable[Any] = (),
    executor: ExecutorDefinition | None = None,
    loggers: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    poll_interval_seconds: int = 30,
    nightly: str | None = None,
) -> Definitions:
    """Definitions of the assets, and of what makes batch assets work: two sensors, two jobs, the IO manager of tables.

    `resources` holds a provider's resource under each key that a batch asset names, and may hold a BatchStore under
    `batch_store`. `poll_interval_seconds` is how often both sensors look. `nightly="02:30"` adds a schedule that
    materializes the batch assets with all that is above and below them, at that time of the partitions' timezone.
    Raises ConfigError for a provider that is not among the resources, and for what its batch API would refuse.
    """
    given = {STORE_KEY: BatchStore(), TABLES_KEY: store_tables, **(resources or {})}
    assets = list(assets)
    batch_assets = [definition for definition in assets if spec_of(definition) is not None]
    check_providers(batch_assets, given)
    engine = engine_definitions(
        given, poll_interval_seconds=poll_interval_seconds, assets=[asset.key for asset in batch_assets]
    )
    timetable = [nightly_schedule(batch_assets, at=nightly)] if nightly else []
    return Definitions(
        assets=assets,
        resources=given,
        asset_checks=list(asset_checks) or None,
        sensors=[*sensors, *(engine.sensors or ())],
        schedules=[*schedules, *timetable],
        jobs=[*jobs, *(engine.jobs or ())],
        executor=executor,
        loggers=loggers,
        metadata=metadata,
    )


def engine_definitions(
    resources: Mapping[str, Any], *, poll_interval_seconds: int = 30, assets: Sequence[Any] | None = None
) -> Definitions:
    """The sensors and jobs alone. `assets` are the keys of the batch assets; without them, every asset is looked at.

    Raises ConfigError.
    """
    if poll_interval_seconds < 1:
        raise ConfigError(f"poll_interval_seconds is {poll_interval_seconds}; write 1 or more")
    store = resources.get(STORE_KEY)
    if not isinstance(store, BatchStore):
        raise ConfigError(f"the resource {STORE_KEY!r} is a {type(store).__name__}; it must be a BatchStore")
    store.check()
    providers = {key: value for key, value in resources.items() if isinstance(value, BatchProviderResource)}
    selection = AssetSelection.assets(*assets).downstream() if assets else AssetSelection.all()
    advance = advance_job(providers, store)
    return Definitions(
        sensors=[
            poll_sensor(advance, providers, store, interval_seconds=poll_interval_seconds),
            resume_sensor(selection, store, interval_seconds=poll_interval_seconds),
        ],
        jobs=[advance, cancel_job(providers, store)],
    )


def check_providers(assets: Iterable[AssetsDefinition], resources: Mapping[str, Any]) -> None:
    """Raise ConfigError where an asset's provider is missing, or its batch API would refuse the asset's requests."""
    providers = sorted(key for key, value in resources.items() if isinstance(value, BatchProviderResource))
    for definition in assets:
        spec = spec_of(definition)
        if spec is None:
            continue
        resource = resources.get(spec.provider)
        if not isinstance(resource, BatchProviderResource):
            raise ConfigError(
                f"{spec.asset}: provider={spec.provider!r} is not the key of a provider's resource; "
                + (f"those given are {providers}" if providers else "none was given")
                + f'. Add resources={{"{spec.provider}": OpenAIBatchResource(...)}}'
            )
        try:
            provider = resource.offline(spec.provider)
            provider.check(spec.request)
            spec.prompt.check_parts(provider.envelope(spec.request).parts)
        except ConfigError as error:
            raise type(error)(f"{spec.asset}: {error}") from error


def nightly_schedule(assets: Sequence[AssetsDefinition], *, at: str, name: str = "nightly") -> Any:
    """A schedule for the last partition of the batch assets, all above and all below them. `at` is `HH:MM`."""
    time_of_day(at)
    partitions = {_partitions(asset) for asset in assets}
    if len(partitions) != 1:
        raise ConfigError(
            f"nightly={at!r}: the batch assets have {len(partitions)} different partitions, and a schedule is for one; "
            "write the schedules with dagster.build_schedule_from_partitioned_job"
        )
    return schedule_of_selection(AssetSelection.assets(*assets), at=at, name=name)


def schedule_of_selection(selection: AssetSelection, *, at: str, name: str = "nightly") -> Any:
    """As `nightly_schedule`, for a selection that is resolved when the definitions are."""
    hour, minute = time_of_day(at)
    job = define_asset_job(name, selection=selection.upstream() | selection.downstream())
    return build_schedule_from_partitioned_job(job, hour_of_day=hour, minute_of_hour=minute)


def _partitions(asset: AssetsDefinition) -> PartitionsDefinition[Any]:
    if not isinstance(asset.partitions_def, TimeWindowPartitionsDefinition):
        raise ConfigError(
            f"nightly: {asset.key.to_user_string()} is not partitioned by time; write its schedule with "
            "dagster.ScheduleDefinition"
        )
    return asset.partitions_def


def time_of_day(at: str) -> tuple[int, int]:
    """Hour and minute of `HH:MM`. Raises ConfigError."""
    hour, _, minute = at.partition(":")
    if not (hour.isdigit() and minute.isdigit() and int(hour) < 24 and int(minute) < 60):
        raise ConfigError(f"nightly is {at!r}; write a time of day, `02:30` say")
    return int(hour), int(minute)
