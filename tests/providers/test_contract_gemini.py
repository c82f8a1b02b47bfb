"""The adapter for the Gemini API against the contract."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from batch_assets.provider_contract.contract import Bench, texts
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.records import BatchPhase, Ending, Outcome
from batch_assets.testing import ProviderContract


class TestGemini(ProviderContract):
    model = "gemini-3-flash-preview"
    emulated = "gemini"
    key_variable = "GEMINI_API_KEY"
    statuses: ClassVar[Mapping[str, tuple[BatchPhase, Ending | None]]] = MappingProxyType(
        {
            "BATCH_STATE_PENDING": (BatchPhase.RUNNING, None),
            "BATCH_STATE_RUNNING": (BatchPhase.RUNNING, None),
            "BATCH_STATE_SUCCEEDED": (BatchPhase.ENDED, Ending.COMPLETED),
            "BATCH_STATE_FAILED": (BatchPhase.ENDED, Ending.FAILED),
            "BATCH_STATE_CANCELLED": (BatchPhase.ENDED, Ending.CANCELED),
            "BATCH_STATE_EXPIRED": (BatchPhase.ENDED, Ending.EXPIRED),
        }
    )
    refused_params: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "stream": True,
            "contents": [],
            "candidate_count": 2,
            "responseJsonSchema": {},
            "cachedContent": "x",
            "serviceTier": "flex",
            "service_tier": "priority",
        }
    )
    taken_params: ClassVar[Mapping[str, object]] = MappingProxyType(
        {"candidateCount": 1, "responseModalities": ["TEXT"]}
    )
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

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> GeminiProvider:
        url = emulator.gemini_base_url
        return GeminiProvider(api_key=secret, base_url=url, max_retries=retries, inline_bytes=0)

    @pytest.mark.parametrize("outcome", [Outcome.CANCELED])
    def test_what_was_finished_is_kept(self, bench: Bench, outcome: Outcome) -> None:
        super().test_what_was_finished_is_kept(bench, outcome)

    def test_an_expired_batch_has_no_results(self, bench: Bench) -> None:
        bench.emulator.arm("expired")
        batch = bench.ended(bench.send(texts(40)))
        assert (batch.ending, batch.result_files) == (Ending.EXPIRED, ())
        assert bench.results(batch) == []
        assert bench.bill["requests"] == 0

    def test_cancel(self, bench: Bench) -> None:
        """There is no state of canceling."""
        bench.emulator.set_latency(1000)
        batch_id = bench.send(texts(40))
        bench.emulator.advance(525)
        bench.provider.cancel(batch_id)
        assert bench.provider.batch(batch_id).phase is BatchPhase.RUNNING
        bench.provider.cancel(batch_id)
        bench.emulator.advance(100)
        batch = bench.provider.batch(batch_id)
        assert (batch.phase, batch.ending) == (BatchPhase.ENDED, Ending.CANCELED)
        assert 0 < len(bench.results(batch)) == bench.bill["requests"] < 40
        bench.provider.cancel(batch_id)  # it has ended: no error
