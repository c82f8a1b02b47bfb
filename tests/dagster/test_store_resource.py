"""BatchStore: the bucket through a nested GCSResource, and what is wrong with it in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster_gcp import GCSResource

from batch_assets.dagster import BatchStore, OpenAIBatchResource, VertexBatchResource, batch_asset, batch_definitions
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError, StoreError

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:InitResourceContext.dagster_run:DeprecationWarning",  # Dagster's own, for every nested resource
)


@pytest.fixture
def no_google(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine without credentials and without a project."""
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return monkeypatch


def test_a_nested_resource_gets_its_project_from_the_environment(
    batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PROJECT", "p")
    gcs = GCSResource(project=dg.EnvVar("THE_PROJECT"))
    store = BatchStore(root="gs://bucket/store", tables="gs://bucket/tables", gcs=gcs)
    with dg.build_resources({"gcs": gcs, "batch_store": store}) as resources:
        ready: BatchStore = resources.batch_store
        ready.ledger()
        assert ready.gcs.project == "p"  # type: ignore[union-attr]
        assert ready.object_store().read("store.json")
        assert ready.table_store().root == "gs://bucket/tables"


def test_a_night_with_everything_in_buckets(batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, tables, input and predictions, all through one GCSResource; fields are known in the run only."""
    settings = {"PROJECT": "p", "ROOT": "gs://bucket/store", "FOLDER": "gs://predictions/batches"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    gcs = GCSResource(project=dg.EnvVar("PROJECT"))

    @batch_asset(
        provider="google",
        model="gemini-3-flash-preview",
        prompt="{{ text }}",
        output_type=str,
        row_key="id",
        max_output_tokens=50,
    )
    def answers() -> Any:
        return [{"id": number, "text": f"message {number}"} for number in range(3)]

    resources = {
        "google": VertexBatchResource(
            project=dg.EnvVar("PROJECT"), location="eu", gcs_folder=dg.EnvVar("FOLDER"), gcs=gcs
        ),
        "batch_store": BatchStore(root=dg.EnvVar("ROOT"), gcs=gcs, wait_seconds=30),
    }
    batch_definitions(assets=[answers], resources=resources)
    assert dg.materialize([answers], resources=resources).success
    assert batch_emulator.bill()["vertex"]["requests"] == 3
    with dg.build_resources({"store": resources["batch_store"]}) as ready:
        (plan,) = (plan for plan, _ in ready.store.ledger().heads())
        assert plan.account.endswith("+p+eu")
        assert ready.store.table_store().exists("answers", None)


def refused(store: BatchStore, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        store.ledger()
    assert "\n" not in str(caught.value)


def test_wrong_credentials_or_project(no_google: pytest.MonkeyPatch, tmp_path: Any) -> None:
    store = BatchStore(root="gs://bucket/store", gcs=GCSResource(project="p"))
    refused(store, ConfigError, "no Google credentials for the bucket.*GOOGLE_APPLICATION_CREDENTIALS")
    no_google.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    refused(store, ConfigError, "key.json was not found")


def test_a_bucket_that_is_not_there(batch_emulator: Emulator) -> None:
    batch_emulator.arm("refused", provider="gcs", operation="files.create", status=404, times=9)
    store = BatchStore(root="gs://nowhere/store", gcs=GCSResource(project="p"))
    refused(store, StoreError, "gs://nowhere/store")


def test_what_is_no_bucket_and_what_is_no_gcs_resource(batch_emulator: Emulator) -> None:
    refused(BatchStore(root="s3://bucket"), ConfigError, "s3://bucket.*give a folder or gs://bucket/folder")
    for wrong_place in ({"root": "s3://bucket"}, {"root": "gs:///x"}, {"tables": "s3://bucket/tables"}):
        with pytest.raises(ConfigError, match="is no place to store in"):  # when definitions load
            batch_definitions(resources={"batch_store": BatchStore(**wrong_place)})
    batch_definitions(resources={"batch_store": BatchStore(root=dg.EnvVar("UNSET"), tables="gs://bucket/tables")})
    wrong = BatchStore(root="gs://bucket", gcs=OpenAIBatchResource())
    refused(wrong, ConfigError, r"`gcs` is a OpenAIBatchResource; give it a dagster_gcp.GCSResource")
