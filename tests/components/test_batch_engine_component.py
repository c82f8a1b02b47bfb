"""BatchEngineComponent: store, providers, sensors and the nightly schedule from YAML; secrets are not shown."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest
from yaml_project import ENGINE, Project

from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchStore,
    MistralBatchResource,
    OpenAIBatchResource,
    VertexBatchResource,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EVERYTHING = """
type: batch_assets.dagster.BatchEngineComponent
attributes:
  store:
    root: "{{ context.project_root }}/state"
    namespace: "{{ env.THE_NAMESPACE }}"
  providers:
    openai:
      type: OpenAIBatchResource
      api_key: "{{ env.OPENAI_API_KEY }}"
      base_url: "http://{{ env.THE_HOST }}/v1"
      max_open_batches: 3
    claude: {type: AnthropicBatchResource, prompt_caching: true}
    google: {type: VertexBatchResource, gcs_folder: gs://b/f, gcs: {type: dagster_gcp.GCSResource, project: p}}
    own: {type: PROJECT.acme.AcmeResource, workspace: w}
    acme:
      type: OpenAICompatibleBatchResource
      dialect: gateway
      base_url: "http://{{ env.THE_HOST }}/v1"
      differences: {vendor: acme, metadata: false, windows: [3d], statuses: {partial: expired}, max_requests: 10}
  poll_interval_seconds: 7
  nightly: "02:30"
"""
ACME = """
from batch_assets.dagster import MistralBatchResource

class AcmeResource(MistralBatchResource):
    pass
"""
HOST = """
type: batch_assets.dagster.BatchEngineComponent
attributes:
  providers:
    acme:
      type: OpenAICompatibleBatchResource
      dialect: gateway
      differences:
        max_requests: 10
        statuses:
          partial: expired
"""
DAILY = ("    key: classified\n", '    key: classified\n    partitions_def: {type: daily, start_date: "2026-11-01"}\n')


def test_everything(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("THE_HOST", "localhost:1")
    project.write("../acme.py", ACME)
    project.write("engine/defs.yaml", EVERYTHING.replace("PROJECT", project.name))
    project.asset(DAILY)
    defs = project.defs()
    resources = defs.resources or {}
    openai = resources["openai"]
    assert isinstance(openai, OpenAIBatchResource)
    assert isinstance(openai.api_key, dg.EnvVar)
    assert openai.base_url == "http://localhost:1/v1"
    assert openai.max_open_batches == 3
    assert "sk-secret" not in repr(openai)
    assert isinstance(resources["claude"], AnthropicBatchResource)
    google = resources["google"]
    assert isinstance(google, VertexBatchResource)
    assert type(google.gcs).__name__ == "GCSResource"
    assert isinstance(resources["own"], MistralBatchResource)
    acme = resources["acme"].provider("acme")
    assert (acme.account, acme.limits.max_requests, acme.limits.completion_window) == ("acme+localhost:1", 10, "3d")
    store = resources["batch_store"]
    assert isinstance(store, BatchStore)
    assert store.root == f"{project.root}/state"
    assert store.namespace == dg.EnvVar("THE_NAMESPACE")

    repository = defs.get_repository_def()
    assert {sensor.name: sensor.minimum_interval_seconds for sensor in repository.sensor_defs} == {
        "batch_poll": 7,
        "batch_resume": 7,
    }
    (schedule,) = repository.schedule_defs
    assert schedule.cron_schedule == "30 2 * * *"
    job = repository.get_job("nightly")
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {"classified"}
    assert job.partitions_def == dg.DailyPartitionsDefinition("2026-11-01")


def test_the_engine_alone(project: Project) -> None:
    repository = project.defs().get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {"batch_poll", "batch_resume"}
    assert not repository.schedule_defs


@pytest.mark.parametrize(
    ("fault", "line", "words"),
    [
        (("type: OpenAIBatchResource", "type: OpenAIResource"), 6, "'OpenAIResource' is not known: write one of Anthr"),
        (("type: OpenAIBatchResource", "type: dagster.AssetKey"), 6, "no provider's resource"),
        (("      type: OpenAIBatchResource\n", ""), 5, "`type` is missing"),
        (("api_key:", "apikey:"), 7, "no setting 'apikey'; it has api_key"),
        (("api_key:", "max_retries: -1\n      api_key:"), 7, "max_retries: Input should be greater"),
        (("  providers:", "  store: {rot: x}\n  providers:"), 4, "BatchStore has no setting 'rot'"),
        (("  providers:", "  store: {hold: maybe}\n  providers:"), 4, "hold: Input should be 'auto' or 'off'"),
        (("  providers:", "  nightly: late\n  providers:"), 4, "write a time of day"),
        (("  providers:", "  poll_interval_seconds: 0\n  providers:"), 4, "write 1 or more"),
    ],
)
def test_errors_name_file_and_line(
    project: Project, error: Callable[[], str], fault: tuple[str, str], line: int, words: str
) -> None:
    project.write("engine/defs.yaml", ENGINE.replace(*fault))
    said = error()
    assert f"defs.yaml:{line} - attributes" in said
    assert words in said


@pytest.mark.parametrize(
    ("fault", "line", "words"),
    [
        (("max_requests: 10", "max_requests: 0"), 9, "`differences.max_requests` is 0: Input should be greater"),
        (("partial: expired", "partial: gone"), 10, "`differences.statuses` of 'partial' is 'gone'; write one of run"),
        (("max_requests: 10", "requests: 10"), 9, "`differences` has no field 'requests'; it has"),
    ],
)
def test_errors_of_a_declared_host_name_the_line_of_the_field(
    project: Project, error: Callable[[], str], fault: tuple[str, str], line: int, words: str
) -> None:
    project.write("engine/defs.yaml", HOST.replace(*fault))
    said = error()
    assert f"defs.yaml:{line} - attributes.providers.acme.differences" in said
    assert f"OpenAICompatibleBatchResource: {words}" in said


def test_a_wrong_secret_is_not_in_the_error(project: Project, error: Callable[[], str]) -> None:
    written = ENGINE.replace('"{{ env.OPENAI_API_KEY }}"', "[sk-secret]")
    project.write("engine/defs.yaml", written)
    said = error()
    assert "api_key: Input should be a valid string" in said
