"""`BatchAssetComponent`: a batch asset in YAML, over `build_batch_asset` and `batch_asset`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Self, get_type_hints

from dagster import (
    AssetIn,
    AssetsDefinition,
    BackfillPolicy,
    Definitions,
    RetryPolicy,
    TimeWindowPartitionsDefinition,
)
from dagster.components import (
    Component,
    ComponentLoadContext,
    ResolutionContext,
    Resolvable,
    ResolvedAssetSpec,
    Resolver,
    scaffold_with,
)
from dagster.components.resolved.core_models import (
    MultiRunBackfillPolicyModel,
    SingleRunBackfillPolicyModel,
    resolve_backfill_policy,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from batch_assets.dagster.asset import OutputType, batch_asset, build_batch_asset
from batch_assets.dagster.checks import BatchChecks
from batch_assets.dagster.components.asset_values import (
    ChecksModel,
    FileModel,
    FunctionModel,
    RetryPolicyModel,
    UpstreamModel,
    asset_in,
    asset_ins,
    batch_checks,
    function,
    output_schema,
    prompt_text,
    step_retries,
    text,
)
from batch_assets.dagster.components.batch_engine_component import BatchEngineComponent, engines
from batch_assets.dagster.components.places import errors_at, located
from batch_assets.dagster.components.scaffolding import CommentedScaffolder
from batch_assets.dagster.definitions import check_providers
from batch_assets.errors import ConfigError, PromptError, SchemaError

_PLAIN = {
    "provider",
    "model_name",
    "row_key",
    "max_output_tokens",
    "max_cost_usd",
    "max_attempts",
    "endpoint",
    "params",
    "output_columns",
    "pricing",
    "on_change",
    "on_ambiguous",
    "preview_rows",
    "pool",
    "op_tags",
    "io_manager_key",
}
"""Attributes that stand in the YAML as `batch_asset` takes them."""
_KIND_TAGS = "dagster/kind/"
_ASSET_OPTIONS = ("group_name", "description", "owners", "automation_condition", "freshness_policy", "code_version")


@scaffold_with(CommentedScaffolder)
@dataclass(kw_only=True)
class BatchAssetComponent(Component, Resolvable):
    """A batch asset: each row of a partition is a request to a provider's batch API, the answers are a typed table.

    The provider's resource and the store are those of the project's BatchEngineComponent.
    """

    asset: Annotated[
        ResolvedAssetSpec,
        Resolver.default(description="Key, group, owners, tags, kinds, partitions, ... as of any asset in YAML."),
    ]
    provider: Annotated[
        str, Resolver.default(description="Name of a provider of the BatchEngineComponent.", examples=["openai"])
    ]
    model_name: Annotated[  # `model` is a method of Resolvable
        str,
        Resolver(
            lambda _, value: value,
            model_field_name="model",
            model_field_type=str,
            description="Name of the model.",
            examples=["gpt-5-mini"],
        ),
    ]
    row_key: Annotated[str, Resolver.default(description="The column that names a row: present, unique, not null.")]
    prompt: Annotated[
        str | Callable[..., Any],
        Resolver(
            prompt_text,
            model_field_type=str | FileModel | FunctionModel,
            inject_before_resolve=False,  # its braces are the row's columns
            description="Jinja2 template over a row's columns; or `file:` beside the YAML; or `function:` of a row.",
            examples=["Classify this message.\n\n{{ text }}", {"file": "prompt.jinja"}],
        ),
    ]
    output_type: Annotated[
        OutputType | None,
        Resolver(
            output_schema,
            model_field_type=str | Mapping[str, Any],
            inject_before_resolve=False,
            description="`str` for plain text, the dotted path of a pydantic model, a JSON Schema, or `file:` of one.",
            examples=["str", "my_project.intents.Intent", {"file": "intent.json"}],
        ),
    ] = None
    source: Annotated[
        AssetIn | None,
        Resolver(
            asset_in,
            model_field_type=str | UpstreamModel,
            description="The asset whose rows are sent as they are; with `key:` and `partition_mapping:` if its "
            "partitions are others than ours.",
            examples=["support_queries"],
        ),
    ] = None
    ins: Annotated[
        Mapping[str, AssetIn] | None,
        Resolver(
            asset_ins,
            model_field_type=Mapping[str, str | UpstreamModel],
            description="Assets above by the name of the parameter of `rows`, where it is not the key.",
        ),
    ] = None
    rows: Annotated[
        Callable[..., Any] | None,
        Resolver(
            function,
            model_field_type=str,
            description="Dotted path of a function that makes the rows of a partition from the assets above, in the "
            "place of `source`.",
            examples=["my_project.rows.joined"],
        ),
    ] = None
    system: Annotated[
        str | None,
        Resolver(
            text,
            model_field_type=str | FileModel,
            inject_before_resolve=False,
            description="Constant system text, or `file:` beside the YAML.",
        ),
    ] = None
    max_output_tokens: Annotated[int | None, Resolver.default(description="Of one response.")] = None
    max_cost_usd: Annotated[
        int | float | str | None, Resolver.default(description="A partition's plan above it is refused before sending.")
    ] = None
    max_attempts: Annotated[int | None, Resolver.default(description="Of one request; default: 3.")] = None
    endpoint: Literal["chat", "responses", "embeddings"] | None = None
    params: Annotated[
        Mapping[str, Any] | None, Resolver.default(description="Parameters that go to the provider as they are.")
    ] = None
    output_columns: Annotated[
        Sequence[str] | None, Resolver.default(description="Source columns that go to the table; default: all.")
    ] = None
    pricing: Annotated[
        Mapping[str, Mapping[str, float]] | None,
        Resolver.default(description="Own rates by model, in USD per million tokens."),
    ] = None
    on_change: Literal["finish", "cancel"] | None = None
    on_ambiguous: Literal["hold", "resubmit", "fail"] | None = None
    checks: Annotated[
        BatchChecks | bool,
        Resolver(
            batch_checks,
            model_field_type=ChecksModel | bool,
            description="Thresholds of the asset checks that every batch asset has; `false` leaves them out.",
        ),
    ] = True
    preview_rows: Annotated[
        int | None, Resolver.default(description="Rows of the table to show in its metadata: may be personal data.")
    ] = None
    backfill_policy: Annotated[
        BackfillPolicy | None,
        Resolver(
            resolve_backfill_policy,
            model_field_type=SingleRunBackfillPolicyModel | MultiRunBackfillPolicyModel,
            description="Default: one run for partitions of time windows.",
        ),
    ] = None
    pool: Annotated[str | None, Resolver.default(description="Concurrency pool of the asset's step.")] = None
    retry_policy: Annotated[
        RetryPolicy | None,
        Resolver(step_retries, model_field_type=RetryPolicyModel, description="Of the asset's step."),
    ] = None
    op_tags: Annotated[Mapping[str, Any] | None, Resolver.default(description="Tags of the asset's step.")] = None
    io_manager_key: Annotated[
        str | None, Resolver.default(description="IO manager that assets below load the table with; default: ours.")
    ] = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.rows is None):
            raise ConfigError("write either `source`, an asset's key, or `rows`, the dotted path of a function")
        if self.rows is None and self.ins:
            raise ConfigError("`ins` names the parameters of `rows`, which is not set; write `source` for one asset")

    @classmethod
    def resolve_from_model(cls, context: ResolutionContext, model: BaseModel) -> Self:
        """The component, of which everything that can be known without its rows has been checked."""
        with errors_at(context):
            component: Self = super().resolve_from_model(context, model)
            component._check_kinds(context)
            found = engines(context)
            for engine in found:
                if component.provider not in engine.providers:
                    known = ", ".join(sorted(engine.providers)) or "none"
                    raise located(
                        context.at_path("provider"),
                        f"{component.provider!r} is not among the providers of the BatchEngineComponent: {known}",
                    )
                if engine.nightly and not isinstance(component.asset.partitions_def, TimeWindowPartitionsDefinition):
                    raise located(
                        context.at_path("asset"),
                        f"the BatchEngineComponent has `nightly: {engine.nightly}`, and this asset is not partitioned "
                        "by time: give it a `partitions_def`, or leave `nightly` out and write the schedules",
                    )
            try:
                component.definition(found)
            except ConfigError as error:
                attribute = _attribute(error, model)
                raise located(context.at_path(attribute) if attribute else context, str(error)) from None
        return component

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """The asset and its checks."""
        return Definitions(assets=[self.definition(engines(context.resolution_context))])

    def definition(self, engines: Iterable[BatchEngineComponent] = ()) -> AssetsDefinition:
        """The batch asset. Raises ConfigError, also for what an engine's provider would refuse."""
        asset = self._built()
        for engine in engines:
            check_providers([asset], engine.resources())
        return asset

    def _check_kinds(self, context: ResolutionContext) -> None:
        """Dagster takes a text for every attribute, since it may be a template."""
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if name in _PLAIN and value is not None:
                place = context.at_path("model" if name == "model_name" else name)
                try:
                    TypeAdapter(kind).validate_python(value, strict=True)
                except ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    raise located(place, f"{value!r} does not fit: {first['msg']}") from None

    def _built(self) -> AssetsDefinition:
        *prefix, name = self.asset.key.path
        options = {**self._asset_options(), **self._own_options(), "key_prefix": prefix or None}
        if self.rows is not None:
            return batch_asset(name=name, ins=self.ins, **options)(self.rows)
        assert self.source is not None
        assert self.source.key is not None
        return build_batch_asset(name, source=self.source.key, ins={"rows": self.source}, **options)

    def _asset_options(self) -> dict[str, Any]:
        """What the block `asset` says, but for what it leaves out."""
        spec = self.asset
        options = {name: getattr(spec, name) for name in _ASSET_OPTIONS}
        options |= {"partitions_def": spec.partitions_def, "deps": spec.deps, "metadata": spec.metadata}
        options["tags"] = {name: value for name, value in spec.tags.items() if not name.startswith(_KIND_TAGS)}
        options["kinds"] = spec.kinds
        return {name: value for name, value in options.items() if value}

    def _own_options(self) -> dict[str, Any]:
        """What `batch_asset` takes besides, but for what is left out."""
        taken = {"asset", "source", "ins", "rows", "checks", "model_name"}
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in taken}
        options = {name: value for name, value in given.items() if value is not None}
        options["model"] = self.model_name
        if self.checks is not True:
            options["checks"] = self.checks or None
        return options


def _attribute(error: ConfigError, model: BaseModel) -> str | None:
    """The attribute that an error is about, which it names in backticks."""
    if isinstance(error, SchemaError):
        return "output_type"
    if isinstance(error, PromptError):
        return "system" if str(error).startswith("system") else "prompt"
    return next((name for name in re.findall(r"`(\w+)`", str(error)) if name in model.model_fields_set), None)
