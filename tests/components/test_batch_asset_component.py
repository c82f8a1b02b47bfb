"""BatchAssetComponent: YAML says everything that `batch_asset` takes, and errors name the line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.core_models import AssetSpecKwargs
from yaml_project import ENGINE, Project

from batch_assets.dagster import BatchAssetComponent, batch_asset
from batch_assets.dagster.asset import spec_of
from batch_assets.testing import run_night

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

TYPES = """
from pydantic import BaseModel

class Intent(BaseModel):
    intent: str

def shout(row):
    return row["text"].upper()

def both(left, right):
    return left.frame().merge(right.frame(), on="id")

NOT_A_FUNCTION = 3
"""


def test_yaml_has_every_option_of_batch_asset() -> None:
    parameters = inspect.signature(batch_asset).parameters
    own = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    attributes = set(BatchAssetComponent.get_model_cls().model_fields)
    block = set(AssetSpecKwargs.model().model_fields) | {"name", "key_prefix"}  # both are in `key`
    assert own - attributes - block == set()
    assert {"pool", "retry_policy", "op_tags"} <= attributes


def test_the_shortest(project: Project) -> None:
    project.asset()
    asset = project.batch_asset()
    spec = asset.get_asset_spec()
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey("messages")]
    assert spec.kinds == {"openai", "parquet"}
    assert len(list(asset.check_specs)) == 4
    night = run_night(asset, [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}])
    assert night.table["batch_outcome"].to_pylist() == ["succeeded"] * 2


def test_what_dagster_users_set_passes_through(project: Project) -> None:
    project.asset(
        (
            "    key: classified\n",
            """    key: nlp/classified
    group_name: support
    description: What they want.
    owners: ["team:support", "a@example.com"]
    tags: {tier: gold}
    kinds: [openai]
    metadata: {mine: "yes"}
    code_version: v7
    deps: [another]
    automation_condition: "{{ dg.AutomationCondition.eager() }}"
    partitions_def: {type: daily, start_date: "2026-11-01"}
""",
        ),
        ("source: messages", "source: {key: raw/messages, partition_mapping: {type: time_window, start_offset: -1}}"),
        add="""
  backfill_policy: {type: multi_run, max_partitions_per_run: 3}
  pool: llm
  retry_policy: {max_retries: 2, delay: 1.5, backoff: EXPONENTIAL}
  op_tags: {size: small}
  io_manager_key: batch_tables
""",
    )
    asset = project.batch_asset("nlp/classified")
    spec = asset.get_asset_spec()
    assert spec.group_name == "support"
    assert spec.description == "What they want."
    assert list(spec.owners) == ["team:support", "a@example.com"]
    assert spec.tags["tier"] == "gold"
    assert spec.kinds == {"openai"}
    assert spec.metadata["mine"] == "yes"
    assert spec.metadata["batch_assets/model"] == "gpt-5-mini"
    assert spec.code_version == "v7"
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.partitions_def == dg.DailyPartitionsDefinition("2026-11-01")
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {"raw/messages", "another"}
    mapping = asset.get_partition_mapping(dg.AssetKey(["raw", "messages"]))
    assert mapping == dg.TimeWindowPartitionMapping(start_offset=-1)
    assert asset.backfill_policy == dg.BackfillPolicy.multi_run(3)
    assert asset.op.pool == "llm"
    assert asset.op.retry_policy == dg.RetryPolicy(max_retries=2, delay=1.5, backoff=dg.Backoff.EXPONENTIAL)
    assert asset.op.tags["size"] == "small"


def test_a_freshness_policy(project: Project) -> None:
    policy = '"{{ dg.FreshnessPolicy.time_window(fail_window=datetime.timedelta(hours=30)) }}"'
    project.asset(("    key: classified\n", f"    key: classified\n    freshness_policy: {policy}\n"))
    spec = project.batch_asset("classified").get_asset_spec()
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30))


def test_batch_options_reach_the_engine(project: Project) -> None:
    project.write("classified/system.txt", "Be brief.")
    project.asset(
        add="""
  system: {file: system.txt}
  max_output_tokens: 100
  max_cost_usd: 2.5
  max_attempts: 5
  params: {seed: 7}
  output_columns: [text]
  pricing: {gpt-5-mini: {input: 1, output: 2}}
  on_change: cancel
  on_ambiguous: fail
  checks: {min_success_rate: 0.5, blocking: true}
  preview_rows: 3
"""
    )
    asset = project.batch_asset()
    spec = spec_of(asset)
    assert spec is not None
    assert spec.request.system == "Be brief."
    assert (spec.request.max_output_tokens, spec.max_attempts, str(spec.max_cost_usd)) == (100, 5, "2.5")
    assert spec.request.params == {"seed": 7}
    assert spec.output_columns == ("text",)
    assert spec.pricing == {"gpt-5-mini": {"input": 1, "output": 2}}
    assert (spec.on_change, spec.on_ambiguous) == ("cancel", "fail")
    assert [check.blocking for check in asset.check_specs if check.name == "success_rate"] == [True]


SCHEMA = (
    '{"type": "object", "properties": {"mood": {"type": "string", "enum": ["calm", "{{ x }}"]}}, "required": ["mood"]}'
)


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        ("str", ["response"]),
        ("PROJECT.types.Intent", ["intent"]),
        ("PROJECT.types:Intent", ["intent"]),
        (SCHEMA, ["mood"]),
        ("{file: mood.json}", ["mood"]),
    ],
)
def test_output_types(project: Project, written: str, columns: list[str]) -> None:
    project.write("../types.py", TYPES)
    project.write("classified/mood.json", SCHEMA)
    project.asset(("output_type: str", f"output_type: {written.replace('PROJECT', project.name)}"))
    spec = spec_of(project.batch_asset())
    assert spec is not None
    assert spec.schema.fields.names == columns


def test_an_embedding_has_no_output_type(project: Project) -> None:
    project.asset(("  output_type: str\n", "  endpoint: embeddings\n"), ("gpt-5-mini", "text-embedding-3-small"))
    spec = spec_of(project.batch_asset())
    assert spec is not None
    assert spec.schema.is_embedding


@pytest.mark.parametrize("written", ["{file: prompt.jinja}", "{function: PROJECT.types.shout}"])
def test_a_prompt_from_a_file_or_a_function(project: Project, written: str) -> None:
    project.write("../types.py", TYPES)
    project.write("classified/prompt.jinja", "{{ text | upper }}")
    project.asset(('prompt: "Classify: {{ text }}"', f"prompt: {written.replace('PROJECT', project.name)}"))
    spec = spec_of(project.batch_asset())
    assert spec is not None
    night = run_night(project.batch_asset(), [{"id": "1", "text": "loud"}])
    assert night.table["batch_outcome"].to_pylist() == ["succeeded"]


def test_rows_of_several_assets(project: Project) -> None:
    project.write("../types.py", TYPES)
    project.asset(
        ("source: messages", f"rows: {project.name}.types.both\n  ins: {{right: {{key: raw/right}}, left: raw/left}}")
    )
    asset = project.batch_asset()
    assert {dep.asset_key.to_user_string() for dep in asset.get_asset_spec().deps} == {"raw/left", "raw/right"}
    rows = {"raw/left": [{"id": "1", "a": "x"}, {"id": "2", "a": "y"}], "raw/right": [{"id": "2", "text": "z"}]}
    assert run_night(asset, rows).table["id"].to_pylist() == ["2"]


@pytest.mark.parametrize(
    ("fault", "line", "words"),
    [
        (("output_type: str", "output_type: str\n  max_output_tokens: many"), 12, "'many' does not fit"),
        (("output_type: str", "output_type: str\n  max_cost_usd: cheap"), 12, "'cheap'; write US dollars"),
        (("output_type: str", "output_type: str\n  on_change: maybe"), 12, "'finish' or 'cancel'"),
        (("output_type: str", "output_type: str\n  output_columns: text"), 12, "'text' does not fit"),
        (("output_type: str", "output_type: str\n  max_output_tokens: 0"), 12, "whole number from 1 on"),
        (("output_type: str", "output_type: str\n  pricing: {m: {input_mtok: 1}}"), 12, "unknown rate 'input_mtok'"),
        (("{{ text }}", "{{ text"), 10, "prompt"),
        (("output_type: str", 'output_type: str\n  system: "{{ text }}"'), 12, "system contains"),
        (('prompt: "Classify: {{ text }}"', "prompt: {file: nowhere.jinja}"), 10, "no file 'nowhere.jinja'"),
        (
            ('prompt: "Classify: {{ text }}"', "prompt: {function: PROJECT.types.NOT_A_FUNCTION}"),
            10,
            "must be a function",
        ),
        (("output_type: str", "output_type: PROJECT.types.Nothing"), 11, "cannot be imported"),
        (("output_type: str", "output_type: {type: object, properties: {a: {type: whole}}}"), 11, "whole"),
        (("output_type: str", "output_type: {file: nowhere.json}"), 11, "no file 'nowhere.json'"),
        (("provider: openai", "provider: opnai"), 8, "'opnai' is not among the providers.*: openai"),
        (("output_type: str", "output_type: str\n  params: {stream: true}"), 12, "stream"),
        (("output_type: str", "output_type: str\n  max_attempts: 0"), 12, "at least one attempt"),
        (("output_type: str", "output_type: str\n  checks: {min_success_rate: 2}"), 12, "between 0 and 1"),
        (("source: messages", "ins: {a: b}"), 3, "`source`.*or `rows`"),
        (("source: messages", "source: {key: m, partition_mapping: {type: all, end_offset: 1}}"), 6, "end_offset"),
    ],
)
def test_errors_name_file_line_and_attribute(
    project: Project, error: Callable[[], str], fault: tuple[str, str], line: int, words: str
) -> None:
    project.write("../types.py", TYPES)
    project.asset((fault[0], fault[1].replace("PROJECT", project.name)))
    said = error()
    assert f"defs.yaml:{line} - attributes" in said
    assert re.search(words, said), said


def test_nightly_needs_partitions_of_time(project: Project, error: Callable[[], str]) -> None:
    project.write("engine/defs.yaml", ENGINE.replace("  providers:", '  nightly: "02:30"\n  providers:'))
    project.asset()
    said = error()
    assert "classified/defs.yaml:4 - attributes.asset" in said
    assert "is not partitioned by time" in said


def test_in_python_too(project: Project) -> None:
    project.write(
        "classified/component.py",
        """
import dagster as dg
from batch_assets.dagster import BatchAssetComponent

@dg.component_instance
def load(context):
    return BatchAssetComponent(
        asset=dg.AssetSpec("classified"), source=dg.AssetIn(key="messages"), provider="openai",
        model_name="gpt-5-mini", row_key="id", prompt="{{ text }}", output_type=str,
    )
""",
    )
    assert project.batch_asset().key == dg.AssetKey("classified")
    assert {each.name for each in fields(BatchAssetComponent)} >= {"asset", "source"}


def test_templates_are_dagsters_but_in_prompts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_MODEL", "gpt-5-nano")
    project.asset(("model: gpt-5-mini", 'model: "{{ env.THE_MODEL }}"'))
    spec: Any = spec_of(project.batch_asset())
    assert spec.request.model == "gpt-5-nano"
    assert spec.prompt.text == "Classify: {{ text }}"
