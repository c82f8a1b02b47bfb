"""`BatchEngineComponent`: in YAML, what makes batch assets work, once per project, over `engine_definitions`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from dagster import Definitions
from dagster.components import Component, ComponentLoadContext, ResolutionContext, Resolvable, Resolver, scaffold_with
from dagster.components.core.context import RESOLUTION_CONTEXT_STASH_KEY

from batch_assets.dagster.asset import BATCH_ASSETS
from batch_assets.dagster.components.places import errors_at
from batch_assets.dagster.components.resource_values import provider_resources, resource
from batch_assets.dagster.components.scaffolding import CommentedScaffolder
from batch_assets.dagster.definitions import engine_definitions, schedule_of_selection, time_of_day
from batch_assets.dagster.io_manager import TABLES_KEY, store_tables
from batch_assets.dagster.store import STORE_KEY, BatchStore
from batch_assets.errors import ConfigError


def _store(context: ResolutionContext, value: Any) -> BatchStore:
    found: BatchStore = resource(context, BatchStore, value)
    return found


def _interval(context: ResolutionContext, value: Any) -> int:
    with errors_at(context):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{value!r} is no number of seconds; write 1 or more")
    return int(value)


def _time_of_day(context: ResolutionContext, value: str) -> str:
    with errors_at(context):
        time_of_day(value)
    return value


@scaffold_with(CommentedScaffolder)
@dataclass(kw_only=True)
class BatchEngineComponent(Component, Resolvable):
    """The store, the providers, the sensors and jobs of all batch assets of the project; nightly, if wanted."""

    providers: Annotated[
        Mapping[str, Any],  # BatchProviderResource; Dagster takes a resource's class for a model of its YAML
        Resolver(
            provider_resources,
            model_field_type=Mapping[str, Any],
            description="Resources of providers by the name that batch assets call them: `type` and its settings. "
            "`{{ env.NAME }}` is read when it is used.",
            examples=[{"openai": {"type": "OpenAIBatchResource", "api_key": "{{ env.OPENAI_API_KEY }}"}}],
        ),
    ]
    store: Annotated[
        Any,  # BatchStore
        Resolver(
            _store,
            model_field_type=Mapping[str, Any],
            description="Settings of BatchStore: `root`, `namespace`, `tables`, ...; default: a folder in Dagster's "
            "home.",
            examples=[{"root": "gs://bucket/batches", "namespace": "prod"}],
        ),
    ] = field(default_factory=BatchStore)
    poll_interval_seconds: Annotated[
        int, Resolver(_interval, model_field_type=int, description="How often both sensors look.")
    ] = 30
    nightly: Annotated[
        str | None,
        Resolver(
            _time_of_day,
            model_field_type=str,
            description="Time of day of a schedule that materializes all batch assets with what is above and below.",
            examples=["02:30"],
        ),
    ] = None

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """The engine and its resources."""
        resources = self.resources()
        engine = engine_definitions(resources, poll_interval_seconds=self.poll_interval_seconds)
        schedules = [schedule_of_selection(BATCH_ASSETS, at=self.nightly)] if self.nightly else []
        return Definitions(resources=resources, sensors=engine.sensors, jobs=engine.jobs, schedules=schedules)

    def resources(self) -> dict[str, Any]:
        """Everything that batch assets ask for, by key."""
        return {STORE_KEY: self.store, TABLES_KEY: store_tables, **self.providers}


def engines(context: ResolutionContext) -> list[BatchEngineComponent]:
    """The engines of the project that the context's YAML belongs to; none before Dagster has component trees."""
    tree = getattr(context.stash.get(RESOLUTION_CONTEXT_STASH_KEY), "component_tree", None)
    return [] if tree is None else list(tree.get_all_components(BatchEngineComponent))
