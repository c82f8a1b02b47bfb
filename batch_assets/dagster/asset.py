"""`batch_asset` and `build_batch_asset`: one ordinary asset that plans, parks, and lands a table."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetIn,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    BackfillPolicy,
    BetaWarning,
    ConfigurableResource,
    Field,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
    asset,
)
from pydantic import BaseModel

from batch_assets.dagster.checks import BatchChecks, check_specs, make_optional
from batch_assets.dagster.io_manager import OWN_TABLES_KEY, store_tables
from batch_assets.dagster.materializing import PROVIDER_METADATA, Source, materialize
from batch_assets.dagster.options import (
    check_dagster_options,
    check_request_options,
    check_table_options,
    columns,
    tokens,
    usd,
)
from batch_assets.dagster.store import STORE_KEY
from batch_assets.dagster.upstream import Upstream
from batch_assets.engine import AssetSpec
from batch_assets.errors import ConfigError
from batch_assets.prompts import Prompt
from batch_assets.records import Request
from batch_assets.schema import OutputSchema

OutputType = type[BaseModel] | type[str] | Mapping[str, Any]
"""A pydantic model, `str` for plain text, or a JSON schema of an object."""

TAG = "batch_assets"
"""Every batch asset has this tag, so that `tag:batch_assets` selects them."""
BATCH_ASSETS = AssetSelection.tag(TAG, "")

_SPEC = "batch_assets_spec"
_CHECKS = "batch_assets_checks"
_REFRESH = {
    "refresh": Field(
        bool, default_value=False, description="Buy every request of the run's partitions anew, finished ones too."
    )
}


def batch_asset(  # the long list is the public API
    *,
    provider: str,
    model: str,
    prompt: str | Callable[[dict[str, Any]], str],
    row_key: str,
    output_type: OutputType | None = None,
    system: str | None = None,
    max_output_tokens: int | None = None,
    max_cost_usd: Decimal | float | str | None = None,
    max_attempts: int = 3,
    endpoint: Literal["chat", "responses", "embeddings"] = "chat",
    params: Mapping[str, Any] | None = None,
    output_columns: Iterable[str] | None = None,
    pricing: Mapping[str, Mapping[str, float]] | None = None,
    on_change: Literal["finish", "cancel"] = "finish",
    on_ambiguous: Literal["hold", "resubmit", "fail"] = "hold",
    checks: BatchChecks | None = BatchChecks(),  # noqa: B008  # frozen
    preview_rows: int = 0,
    name: str | None = None,
    key_prefix: str | Sequence[str] | None = None,
    ins: Mapping[str, AssetIn] | None = None,
    deps: Sequence[Any] | None = None,
    partitions_def: PartitionsDefinition[Any] | None = None,
    backfill_policy: BackfillPolicy | None = None,
    kinds: set[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    code_version: str | None = None,
    description: str | None = None,
    io_manager_key: str | None = None,
    **dagster_options: Any,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Make an asset of a function that returns the rows of one partition: each row is a request, the answers a table.

    The function's parameters are `Upstream` handles of the assets above (`ins` and `deps` as in `dagster.asset`),
    resources by annotation, and `context`. It returns record batches, a table, a DataFrame, or dicts.

    `provider` is the key of a resource; `prompt` a Jinja2 template over a row's columns, or a function of a row;
    `output_type` a pydantic model, a JSON Schema or str (nothing with the endpoint `embeddings`, whose answer is the
    column `embedding`); `row_key` the column that names a row; `output_columns` the source columns that go to the
    output (default: all); `max_cost_usd` refuses a partition's plan before anything is sent; `params` goes to the
    provider as it is; `pricing` gives own rates by model, in USD per million tokens; `on_change` says what happens to
    the batches of a plan that is replaced; `on_ambiguous` what happens to a batch whose creation cannot be settled by
    looking; `checks` sets the thresholds of the asset checks that every batch asset has, None leaves them out;
    `preview_rows` shows so many rows of the table in the materialization's metadata: they may be personal data.

    Time-partitioned assets run a backfill as one run, unless `backfill_policy` says otherwise. All other options of
    `dagster.asset` pass through: group_name, owners, tags, pool, retry_policy, automation_condition, ...
    Raises ConfigError, PromptError, SchemaError.
    """
    check_dagster_options(dagster_options)
    check_request_options(model=model, params=params)
    check_table_options(
        row_key=row_key,
        preview_rows=preview_rows,
        pricing=pricing,
        endpoint=endpoint,
        choices={"on_change": on_change, "on_ambiguous": on_ambiguous},
    )
    limit, kept = tokens(max_output_tokens), columns(output_columns)

    def decorate(function: Callable[..., Any]) -> AssetsDefinition:
        asset_name = name or function.__name__
        prefix = [key_prefix] if isinstance(key_prefix, str) else list(key_prefix or ())
        spec = _spec(
            AssetKey([*prefix, asset_name]),
            provider=provider,
            prompt=Prompt(prompt, system=system),
            schema=_schema(output_type, endpoint),
            request={
                "model": model,
                "endpoint": endpoint,
                "system": system,
                "max_output_tokens": limit,
                "params": dict(params or {}),
            },
            row_key=row_key,
            output_columns=kept,
            max_cost_usd=usd(max_cost_usd),
            max_attempts=max_attempts,
            pricing=dict(pricing or {}),
            on_change=on_change,
            on_ambiguous=on_ambiguous,
        )
        parameters = _parameters(function, ins or {}, asset_name)
        policy = backfill_policy
        if policy is None and isinstance(partitions_def, TimeWindowPartitionsDefinition):
            policy = BackfillPolicy.single_run()
        options = {
            "name": asset_name,
            "key_prefix": key_prefix,
            "deps": [*_deps(parameters.upstreams, ins or {}), *(deps or ())],
            "partitions_def": partitions_def,
            "backfill_policy": policy,
            "kinds": kinds if kinds is not None else {provider, "parquet"},
            "metadata": {PROVIDER_METADATA: provider, "batch_assets/model": model, **(metadata or {})},
            "code_version": code_version or spec.code_version,
            "description": description or inspect.getdoc(function),
            "required_resource_keys": {provider, STORE_KEY, *parameters.resources},
            "config_schema": _REFRESH,
            **dagster_options,
            "tags": {TAG: "", **(dagster_options.get("tags") or {})},
        }
        return _build(
            spec,
            Source(function, parameters.upstreams, parameters.resources, parameters.context, parameters.metadata),
            options,
            checks=checks,
            preview_rows=preview_rows,
            io_manager_key=io_manager_key,
        )

    return decorate


def build_batch_asset(name: str, *, source: str | Sequence[str] | AssetKey, **options: Any) -> AssetsDefinition:
    """Make a batch asset whose rows are those of the asset `source`, as they are. Options as in `batch_asset`."""
    ins = dict(options.pop("ins", None) or {})
    ins.setdefault("rows", AssetIn(key=AssetKey.from_coercible(source)))

    def rows_of_source(rows: Upstream) -> Iterator[Any]:
        return rows.batches()

    return batch_asset(name=name, ins=ins, **options)(rows_of_source)


def spec_of(definition: object) -> AssetSpec | None:
    """What a batch asset is to the engine; None for any other definition."""
    if not isinstance(definition, AssetsDefinition) or not definition.is_executable:
        return None
    spec = _attached(definition, _SPEC)
    return spec if isinstance(spec, AssetSpec) else None


def checks_of(definition: AssetsDefinition) -> BatchChecks | None:
    """What the checks of a batch asset ask for; None where it has none."""
    checks = _attached(definition, _CHECKS)
    return checks if isinstance(checks, BatchChecks) else None


def _attached(definition: AssetsDefinition, name: str) -> object:
    compute = getattr(definition.node_def, "compute_fn", None)
    return getattr(getattr(compute, "decorated_fn", None), name, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameters:
    upstreams: dict[str, AssetKey]
    resources: tuple[str, ...]
    context: bool
    metadata: dict[AssetKey, dict[str, Any]]
    """Of the inputs, by the asset above."""


def _build(
    spec: AssetSpec,
    source: Source,
    options: dict[str, Any],
    *,
    checks: BatchChecks | None,
    preview_rows: int,
    io_manager_key: str | None,
) -> AssetsDefinition:
    def compute(context: AssetExecutionContext) -> Iterator[Any]:
        yield from materialize(context, spec, source, checks=checks, preview_rows=preview_rows)

    compute.__name__ = spec.asset.rsplit("/", 1)[-1]
    compute.__annotations__ = {"context": AssetExecutionContext}  # Dagster reads the class, not its name
    setattr(compute, _SPEC, spec)
    setattr(compute, _CHECKS, checks)
    given = {key: value for key, value in options.items() if value is not None}
    if checks is not None:
        given["check_specs"] = check_specs(
            AssetKey(spec.asset.split("/")),
            checks,
            max_cost_usd=spec.max_cost_usd,
            partitions_def=given.get("partitions_def"),
        )
    if io_manager_key is None:  # downstream assets load the table through the store that wrote it
        io_manager_key, given["resource_defs"] = OWN_TABLES_KEY, {OWN_TABLES_KEY: store_tables}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)  # backfill_policy and resource_defs, for years now
        definition: AssetsDefinition = asset(output_required=False, io_manager_key=io_manager_key, **given)(compute)
    make_optional(definition)
    return definition


def _spec(key: AssetKey, *, request: dict[str, Any], schema: OutputSchema, **options: Any) -> AssetSpec:
    full = Request(json_schema=schema.json_schema, schema_name=schema.name, **request)
    return AssetSpec(asset=key.to_user_string(), request=full, schema=schema, **options)


def _schema(output_type: OutputType | None, endpoint: str) -> OutputSchema:
    if output_type is None:
        if endpoint != "embeddings":
            raise ConfigError("`output_type` is not set: give a pydantic model class, or str for plain text")
        return OutputSchema.embedding()
    if isinstance(output_type, Mapping):
        return OutputSchema.from_json_schema(output_type)
    return OutputSchema.of(output_type)


def _parameters(function: Callable[..., Any], ins: Mapping[str, AssetIn], name: str) -> _Parameters:
    hints = _hints(function)
    upstreams: dict[str, AssetKey] = {}
    resources = []
    context = False
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ConfigError(f"{name}: the parameter {parameter} has no name of an asset; write each asset by name")
        if parameter.name == "context":
            context = True
        elif isinstance(hint, type) and issubclass(hint, ConfigurableResource):
            resources.append(parameter.name)
        elif hint in (None, Upstream, Any):
            upstreams[parameter.name] = _key(parameter.name, ins.get(parameter.name))
        else:
            raise ConfigError(
                f"{name}: the parameter {parameter.name!r} is annotated {hint!r}; annotate it `Upstream` for an asset "
                "above, or with the class of a resource"
            )
    unknown = sorted(set(ins) - set(upstreams))
    if unknown:
        raise ConfigError(f"{name}: `ins` names {unknown}, which are not parameters of the function")
    for key, asset_in in ins.items():
        if asset_in.input_manager_key is not None:
            raise ConfigError(
                f"{name}: `ins[{key!r}]` has an input_manager_key, and an Upstream is loaded by the IO manager of its "
                "asset; leave it out, and load what needs another one in an asset between the two"
            )
    metadata = {key: dict(ins[above].metadata or {}) for above, key in upstreams.items() if above in ins}
    return _Parameters(upstreams=upstreams, resources=tuple(resources), context=context, metadata=metadata)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:  # an annotation that only a type checker sees
        return {key: None for key, value in inspect.get_annotations(function).items() if "Upstream" in str(value)}


def _key(parameter: str, asset_in: AssetIn | None) -> AssetKey:
    if asset_in is None:
        return AssetKey(parameter)
    if asset_in.key is not None:
        return AssetKey.from_coercible(asset_in.key)
    prefix = asset_in.key_prefix or []
    return AssetKey([*([prefix] if isinstance(prefix, str) else prefix), parameter])


def _deps(upstreams: Mapping[str, AssetKey], ins: Mapping[str, AssetIn]) -> list[AssetDep]:
    return [
        AssetDep(key, partition_mapping=ins[name].partition_mapping if name in ins else None)
        for name, key in upstreams.items()
    ]
