"""What is known when definitions load is said then; what Dagster users set on assets passes through."""

from __future__ import annotations

from typing import Any, Literal

import dagster as dg
import numpy as np
import pytest
from pydantic import BaseModel

import batch_assets.dagster
from batch_assets.dagster import (
    BatchStore,
    OpenAIBatchResource,
    Upstream,
    batch_asset,
    batch_definitions,
    build_batch_asset,
    nightly_schedule,
)
from batch_assets.errors import ConfigError, PromptError, SchemaError

DAYS = dg.DailyPartitionsDefinition("2025-01-01", end_date="2025-02-01")
COMMON: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "output_type": str}
OPENAI = {"openai": OpenAIBatchResource(api_key="sk-x")}


def rows(source: Upstream) -> object:
    """Rows of the source."""
    return source.batches()


def test_public_names() -> None:
    assert sorted(batch_assets.dagster.__all__) == [
        "AnthropicBatchResource",
        "BatchAssetComponent",
        "BatchChecks",
        "BatchEngineComponent",
        "BatchProviderResource",
        "BatchStore",
        "GeminiBatchResource",
        "HostDifferences",
        "Image",
        "MistralBatchResource",
        "OpenAIBatchResource",
        "OpenAICompatibleBatchResource",
        "ParquetIOManager",
        "Pdf",
        "RealtimeResource",
        "Upstream",
        "VertexBatchResource",
        "batch_asset",
        "batch_definitions",
        "build_batch_asset",
        "engine_definitions",
        "nightly_schedule",
    ]
    assert all(hasattr(batch_assets.dagster, name) for name in batch_assets.dagster.__all__)


def test_it_is_one_ordinary_asset_and_options_pass_through() -> None:
    condition = dg.AutomationCondition.eager()
    mapping = dg.TimeWindowPartitionMapping(start_offset=-1)
    asset = batch_asset(
        prompt="{{ text }}",
        **COMMON,
        name="named",
        key_prefix=["a", "b"],
        ins={"source": dg.AssetIn(key=["raw", "source"], partition_mapping=mapping)},
        deps=["another"],
        partitions_def=DAYS,
        group_name="nlp",
        owners=["team:nlp"],
        tags={"tier": "1"},
        pool="llm",
        retry_policy=dg.RetryPolicy(max_retries=2),
        automation_condition=condition,
        metadata={"mine": "yes"},
    )(rows)
    assert isinstance(asset, dg.AssetsDefinition)
    (spec,) = asset.specs
    assert spec.key == dg.AssetKey(["a", "b", "named"])
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey(["raw", "source"]), dg.AssetKey("another")}
    assert asset.get_partition_mapping(dg.AssetKey(["raw", "source"])) == mapping
    assert (spec.group_name, list(spec.owners), spec.automation_condition) == ("nlp", ["team:nlp"], condition)
    assert spec.tags["tier"] == "1"
    assert spec.kinds == {"openai", "parquet"}
    assert spec.metadata["batch_assets/model"] == "gpt-5-mini"
    assert spec.metadata["mine"] == "yes"
    assert spec.description == "Rows of the source."
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    assert asset.op.pool == "llm"
    assert asset.op.retry_policy == dg.RetryPolicy(max_retries=2)
    dg.Definitions(assets=[asset], resources={**OPENAI, "batch_store": BatchStore()}).get_repository_def()


def test_the_code_version_is_that_of_the_request() -> None:
    def version(**options: Any) -> str | None:
        asset = batch_asset(name="a", **{"prompt": "{{ text }}", **COMMON, **options})(rows)
        return asset.get_asset_spec().code_version

    assert version() == version(max_cost_usd=3, row_key="other")
    assert len({version(), version(prompt="Say {{ text }}"), version(model="gpt-5"), version(params={"seed": 1})}) == 4
    assert version(code_version="mine") == "mine"
    assert version(max_output_tokens=np.int64(9)) == version(max_output_tokens=9)


def test_the_identity_needs_no_function() -> None:
    asset = build_batch_asset("short", source="meetings", prompt="{{ text }}", **COMMON)
    assert asset.key == dg.AssetKey("short")
    assert [dep.asset_key for dep in asset.get_asset_spec().deps] == [dg.AssetKey("meetings")]


def test_output_columns_are_names_in_whatever_holds_them() -> None:
    columns = {"day": "date", "text": "string"}
    for names in (columns.keys(), set(columns), iter(columns), np.array(list(columns))):
        options = {**COMMON, "output_type": Clash, "output_columns": names}
        with pytest.raises(ConfigError, match=r"\['text'\] are both source columns and fields"):
            build_batch_asset("short", source="meetings", prompt="{{ day }}", **options)
    build_batch_asset("short", source="meetings", prompt="{{ day }}", output_columns=columns.keys(), **COMMON)


class Clash(BaseModel):
    text: str


class Reserved(BaseModel):
    batch_id: str


class Unstrict(BaseModel):
    anything: dict[str, Any]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prompt": "{{ text"}, PromptError, "prompt"),
        ({"output_type": Clash, "output_columns": ["text"]}, ConfigError, "text"),
        ({"output_type": Clash, "row_key": "text"}, ConfigError, "row key"),
        ({"output_type": Reserved}, SchemaError, "batch_id"),
        ({"output_type": Unstrict}, SchemaError, "anything"),
        ({"output_type": int}, SchemaError, "output_type"),
        ({"max_attempts": 0}, ConfigError, "max_attempts"),
        ({"max_cost_usd": -1}, ConfigError, "max_cost_usd"),
        ({"max_output_tokens": 0}, ConfigError, "`max_output_tokens` is 0; write a whole number"),
        ({"max_output_tokens": "200"}, ConfigError, "`max_output_tokens` is '200'"),
        ({"model": " gpt-5-mini"}, ConfigError, "`model` is ' gpt-5-mini'"),
        ({"model": "gpt-5-mini\n"}, ConfigError, "`model` is"),
        ({"params": ["seed"]}, ConfigError, "`params` is a list; write a dict"),
        ({"params": {5: 1}}, ConfigError, "`params` holds 5"),
        ({"params": {"seed": object()}}, ConfigError, "`params` holds 'seed', .* JSON"),
        ({"params": {"top_p": float("nan")}}, ConfigError, "`params` holds 'top_p', .* JSON"),
        ({"params": {"logit_bias": {50256: -100}}}, ConfigError, "`params` holds 'logit_bias', .* str"),
        ({"on_change": "stop"}, ConfigError, "`on_change` is 'stop'; write `finish` or `cancel`"),
        ({"on_ambiguous": "buy"}, ConfigError, "`on_ambiguous` is 'buy'"),
        ({"row_key": ""}, ConfigError, "`row_key` is ''"),
        ({"output_columns": "text"}, ConfigError, "`output_columns` is 'text'; write a list"),
        ({"output_columns": 5}, ConfigError, "`output_columns` is 5; write a list"),
        ({"output_columns": ["text", 5]}, ConfigError, "`output_columns` holds 5"),
        ({"max_output_tokens": True}, ConfigError, "`max_output_tokens` is True"),
        ({"params": {"seed": 2**70}}, ConfigError, "`params` holds 'seed', .* 64-bit"),
        ({"preview_rows": None}, ConfigError, "`preview_rows` is None; write a whole number from 0 to 50"),
        ({"preview_rows": 51}, ConfigError, "`preview_rows` is 51"),
        ({"pricing": {"m": {"input": 1}}}, ConfigError, "has no 'output'"),
        ({"pricing": {"m": {"inputs": 1}}}, ConfigError, "unknown rate 'inputs'"),
        ({"ins": {"other": dg.AssetIn()}}, ConfigError, "other"),
        ({"colour": "red"}, ConfigError, "colour"),
        ({"output_required": True}, ConfigError, "output_required"),
    ],
)
def test_errors_at_definition(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        batch_asset(**{"prompt": "{{ text }}", **COMMON, **options})(rows)


def test_a_parameter_that_is_no_upstream() -> None:
    def wrong(source: int) -> None: ...

    with pytest.raises(ConfigError, match="'source' is annotated"):
        batch_asset(prompt="{{ text }}", **COMMON)(wrong)


def test_a_provider_that_is_not_there_and_a_request_that_it_refuses() -> None:
    asset = batch_asset(name="a", prompt="{{ text }}", **COMMON)(rows)
    with pytest.raises(ConfigError, match=r"provider='openai' is not the key.*\['azure'\]"):
        batch_definitions(assets=[asset], resources={"azure": OpenAIBatchResource()})
    streamed = batch_asset(name="a", prompt="{{ text }}", params={"stream": True}, **COMMON)(rows)
    with pytest.raises(ConfigError, match=r"a: .*stream"):
        batch_definitions(assets=[streamed], resources={"openai": OpenAIBatchResource(api_key=dg.EnvVar("UNSET"))})
    with pytest.raises(ConfigError, match="BatchStore"):
        batch_definitions(resources={"batch_store": "here"})


def test_the_engine_is_there_once() -> None:
    class Mood(BaseModel):
        mood: Literal["calm", "angry"]

    asset = batch_asset(name="a", prompt="{{ text }}", **{**COMMON, "output_type": Mood})(rows)
    repository = batch_definitions(assets=[asset], resources=OPENAI, poll_interval_seconds=7).get_repository_def()
    assert {sensor.name: sensor.minimum_interval_seconds for sensor in repository.sensor_defs} == {
        "batch_poll": 7,
        "batch_resume": 7,
    }
    assert {sensor.default_status for sensor in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    assert {"batch_advance", "batch_cancel"} <= set(repository.job_names)
    assert not repository.schedule_defs


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_the_nightly_schedule() -> None:
    asset = batch_asset(name="a", prompt="{{ text }}", partitions_def=DAYS, **COMMON)(rows)
    repository = batch_definitions(assets=[asset], resources=OPENAI, nightly="02:30").get_repository_def()
    (schedule,) = repository.schedule_defs
    assert (schedule.name, schedule.cron_schedule) == ("nightly_schedule", "30 2 * * *")
    with pytest.raises(ConfigError, match="02:30"):
        nightly_schedule([asset], at="late")
    plain = batch_asset(name="b", prompt="{{ text }}", **COMMON)(rows)
    with pytest.raises(ConfigError, match="not partitioned by time"):
        nightly_schedule([plain], at="02:30")


def test_secrets_are_not_shown() -> None:
    resource = OpenAIBatchResource(api_key="sk-secret")
    assert "sk-secret" not in repr(resource) + str(resource) + repr(resource.provider("openai"))
