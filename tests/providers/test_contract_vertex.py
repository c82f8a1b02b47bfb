"""The adapter for Vertex AI against the contract; input and predictions in the emulated bucket."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from google.oauth2.credentials import Credentials

from batch_assets.provider_contract.contract import Bench
from batch_assets.providers.vertex import VertexProvider
from batch_assets.records import BatchPhase, Ending
from batch_assets.testing import ProviderContract


# The storage client does not close the connection of a download that was refused.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
class TestVertex(ProviderContract):
    model = "gemini-3-flash-preview"
    emulated = "vertex"
    statuses: ClassVar[Mapping[str, tuple[BatchPhase, Ending | None]]] = MappingProxyType(
        {
            "JOB_STATE_QUEUED": (BatchPhase.RUNNING, None),
            "JOB_STATE_PENDING": (BatchPhase.RUNNING, None),
            "JOB_STATE_RUNNING": (BatchPhase.RUNNING, None),
            "JOB_STATE_UPDATING": (BatchPhase.RUNNING, None),
            "JOB_STATE_PAUSED": (BatchPhase.RUNNING, None),
            "JOB_STATE_CANCELLING": (BatchPhase.CANCELING, None),
            "JOB_STATE_SUCCEEDED": (BatchPhase.ENDED, Ending.COMPLETED),
            "JOB_STATE_FAILED": (BatchPhase.ENDED, Ending.FAILED),
            "JOB_STATE_CANCELLED": (BatchPhase.ENDED, Ending.CANCELED),
            "JOB_STATE_EXPIRED": (BatchPhase.ENDED, Ending.EXPIRED),
            "JOB_STATE_PARTIALLY_SUCCEEDED": (BatchPhase.ENDED, Ending.COMPLETED),
        }
    )
    refused_params: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "stream": True,
            "contents": [],
            "model": "x",
            "candidateCount": 2,
            "candidate_count": 2,
            "responseSchema": {},
            "maxOutputTokens": 5,
            "labels": {},
            "cachedContent": "x",
            "serviceTier": "flex",
            "service_tier": "priority",
        }
    )
    taken_params: ClassVar[Mapping[str, object]] = MappingProxyType({"candidate_count": 1})
    refused_schemas: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
            "required": ["a"],
            "additionalProperties": False,
        },
    )
    out_of_money: ClassVar[Sequence[Mapping[str, object]]] = (
        {"status": 403, "message": "This API method requires billing to be enabled."},
    )

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> VertexProvider:
        return VertexProvider(
            project="my-project",
            location="europe-west4",
            gcs_folder="gs://bucket/batches",
            credentials=Credentials(token=secret),
            base_url=emulator.vertex_base_url,
            max_retries=retries,
        )

    def test_results_that_arrive_spoiled_are_passed_on(self, bench: Bench) -> None:
        bench.emulator.set_limits(self.emulated, output_shards=1)  # a fault strikes one file
        super().test_results_that_arrive_spoiled_are_passed_on(bench)
