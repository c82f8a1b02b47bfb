"""Attributes of a batch asset: from what the YAML says to what `batch_asset` takes."""

import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml
from dagster import (
    AllPartitionMapping,
    AssetIn,
    AssetKey,
    Backoff,
    IdentityPartitionMapping,
    Jitter,
    LastPartitionMapping,
    PartitionMapping,
    RetryPolicy,
    SpecificPartitionsPartitionMapping,
    TimeWindowPartitionMapping,
)
from dagster.components import Model, ResolutionContext
from pydantic import Field, create_model

from batch_assets.dagster.asset import OutputType
from batch_assets.dagster.checks import BatchChecks
from batch_assets.dagster.components.places import errors_at, imported
from batch_assets.errors import ConfigError
from batch_assets.prompts import Prompt
from batch_assets.schema import OutputSchema


class FileModel(Model):
    """A file beside the YAML."""

    file: str


class FunctionModel(Model):
    """The dotted path of a function."""

    function: str


class PartitionMappingModel(Model):
    """Which partitions of an asset above belong to one of ours."""

    type: Literal["identity", "all", "last", "specific", "time_window"]
    partition_keys: Sequence[str] | None = Field(default=None, description="Of `specific`.")
    start_offset: int = Field(default=0, description="Of `time_window`: -1 begins one partition earlier.")
    end_offset: int = Field(default=0, description="Of `time_window`: -1 ends one partition earlier.")
    allow_nonexistent_upstream_partitions: bool = Field(default=False, description="Of `time_window`.")


class UpstreamModel(Model):
    """An asset above, and which of its partitions belong to one of ours."""

    key: str
    partition_mapping: PartitionMappingModel | str | None = None


class RetryPolicyModel(Model):
    """As dagster.RetryPolicy."""

    max_retries: int = 1
    delay: float | None = Field(default=None, description="In seconds.")
    backoff: Literal["LINEAR", "EXPONENTIAL"] | None = None
    jitter: Literal["FULL", "PLUS_MINUS"] | None = None


_THRESHOLDS: dict[str, Any] = {
    each.name: (typing.get_type_hints(BatchChecks)[each.name], each.default) for each in fields(BatchChecks)
}
ChecksModel = create_model("ChecksModel", __base__=Model, **_THRESHOLDS)


def prompt_text(context: ResolutionContext, value: Any) -> str | Callable[..., Any]:
    """The template, or the function of a row."""
    if isinstance(value, FunctionModel):
        return function(context.at_path("function"), value.function)
    template = text(context, value)
    with errors_at(context.at_path("file") if isinstance(value, FileModel) else context):
        Prompt(template)
    return template


def text(context: ResolutionContext, value: Any) -> str:
    """A text that stands in the YAML or in a file beside it, braces and all."""
    if not isinstance(value, FileModel):
        return str(value)
    with errors_at(context.at_path("file")):
        return _read(context, value.file)


def output_schema(context: ResolutionContext, value: Any) -> OutputType:
    """`str`, a pydantic model by its path, or a JSON Schema."""
    with errors_at(context):
        found = str if value == "str" else imported(value) if isinstance(value, str) else dict(value)
        if isinstance(found, dict) and set(found) == {"file"}:
            found = _parsed(context, str(found["file"]))
        OutputSchema.from_json_schema(found) if isinstance(found, Mapping) else OutputSchema.of(found)
        return typing.cast("OutputType", found)


def function(context: ResolutionContext, path: str) -> Callable[..., Any]:
    """The function that a dotted path names."""
    with errors_at(context):
        found = imported(path)
        if not callable(found):
            raise ConfigError(f"{path!r} is a {type(found).__name__}; it must be a function")
        return typing.cast(Callable[..., Any], found)


def asset_in(context: ResolutionContext, value: Any) -> AssetIn:
    """An asset above: its key, or its key and a partition mapping."""
    if isinstance(value, str):
        return AssetIn(key=AssetKey.from_user_string(context.resolve_value(value, as_type=str)))
    key = context.at_path("key").resolve_value(value.key, as_type=str)
    at_mapping = context.at_path("partition_mapping")
    with errors_at(at_mapping):
        mapping = value.partition_mapping
        if isinstance(mapping, PartitionMappingModel):
            mapping = _partition_mapping(mapping)
        elif mapping is not None:
            mapping = at_mapping.resolve_value(mapping)
        return AssetIn(key=AssetKey.from_user_string(key), partition_mapping=mapping)


def asset_ins(context: ResolutionContext, value: Any) -> dict[str, AssetIn]:
    """The assets above by parameter."""
    return {name: asset_in(context.at_path(name), each) for name, each in value.items()}


def batch_checks(context: ResolutionContext, value: Any) -> BatchChecks | bool:
    """The thresholds, or whether there are checks."""
    if isinstance(value, bool):
        return value
    with errors_at(context):
        return BatchChecks(**context.resolve_value(value.model_dump(exclude_unset=True)))


def step_retries(context: ResolutionContext, value: Any) -> RetryPolicy:
    """The policy of the step."""
    with errors_at(context):
        return RetryPolicy(
            max_retries=value.max_retries,
            delay=value.delay,
            backoff=Backoff[value.backoff] if value.backoff else None,
            jitter=Jitter[value.jitter] if value.jitter else None,
        )


def _partition_mapping(value: PartitionMappingModel) -> PartitionMapping:
    others = set(value.model_fields_set) - {"type"}
    takes = {
        "specific": {"partition_keys"},
        "time_window": set(PartitionMappingModel.model_fields) - {"partition_keys"},
    }
    if wrong := others - takes.get(value.type, set()):
        raise ConfigError(f"a partition mapping of type {value.type!r} has no {sorted(wrong)}")
    if value.type == "specific":
        if not value.partition_keys:
            raise ConfigError("a partition mapping of type 'specific' needs `partition_keys`")
        return SpecificPartitionsPartitionMapping(list(value.partition_keys))
    if value.type == "time_window":
        return TimeWindowPartitionMapping(**value.model_dump(include=others))
    plain = {"identity": IdentityPartitionMapping, "all": AllPartitionMapping, "last": LastPartitionMapping}
    return typing.cast(PartitionMapping, plain[value.type]())


def _parsed(context: ResolutionContext, name: str) -> Any:
    content = _read(context, name)
    try:
        return yaml.safe_load(content) if name.endswith((".yaml", ".yml")) else json.loads(content)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{name!r} cannot be read: {error}") from error


def _read(context: ResolutionContext, name: str) -> str:
    file = Path(context.resolve_source_relative_path(name))
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no file {name!r} beside the YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name!r} cannot be read: {error}") from error
