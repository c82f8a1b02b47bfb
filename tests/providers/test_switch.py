"""One asset goes from one provider to another by one word: the same rows and columns come out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
from pydantic import BaseModel

from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchProviderResource,
    BatchStore,
    GeminiBatchResource,
    OpenAIBatchResource,
    OpenAICompatibleBatchResource,
    RealtimeResource,
    Upstream,
    VertexBatchResource,
    batch_asset,
)
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError
from batch_assets.provider_contract.contract import Bench
from batch_assets.provider_contract.nights import Nights
from batch_assets.providers.registry import make_provider
from batch_assets.testing import Night, run_night

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # the storage client's connections
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-3-flash-preview",
    "vertex": "gemini-3-flash-preview",
    "mistral": "mistral-small-2603",
}
TEXTS = [f"message number {i}: I lost my card" for i in range(20)]


def test_the_same_night_at_every_provider(emulator: Emulator, tmp_path: Path) -> None:
    settings: dict[str, dict[str, str]] = {
        "vertex": {"project": "p", "location": "eu", "gcs_folder": "gs://bucket/batches"},
        "mistral": {"server_url": emulator.mistral_server_url},
    }
    tables = {}
    for name, model in MODELS.items():
        provider = make_provider(name, settings.get(name))
        bench = Bench(provider=provider, emulator=emulator, model=model, emulated=name)
        nights = Nights(bench, tmp_path)  # the same store and the same asset
        landing, rows = nights.land(nights.plan(TEXTS))
        assert landing.reused == 0
        assert {row["batch_model"] for row in rows} == {model}
        tables[name] = [{key: row[key] for key in ("id", "text", "intent", "note", "batch_outcome")} for row in rows]
        # The same model of the same vendor: what was bought at the Gemini API is not bought again at Vertex AI.
        assert bench.bill["requests"] == (0 if name == "vertex" else 20)
    assert all(table == tables["openai"] for table in tables.values())


# ---------------------------------------------------------------- in Dagster


class Intent(BaseModel):
    """What a customer wants."""

    intent: Literal["card_arrival", "lost_card", "refund"]
    urgency: int


def classified(provider: str, model: str) -> dg.AssetsDefinition:
    @batch_asset(
        provider=provider,
        model=model,
        prompt="Classify.\n\n{{ text }}",
        output_type=Intent,
        row_key="id",
        max_output_tokens=100,
    )
    def answers(messages: Upstream) -> Any:
        return messages.batches()

    return answers


def night(provider: str, model: str, emulator: Emulator, resources: Mapping[str, Any] | None = None) -> Night:
    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS[:5])]
    return run_night(classified(provider, model), rows, emulator=emulator, resources=resources)


def test_run_night_goes_to_the_asset_s_own_provider(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*emulator.environment, "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    frames = {}
    for place, (name, model) in enumerate(MODELS.items(), start=1):
        done = night(name, model, emulator)
        assert (done.requests, emulator.bill()[name]["requests"]) == (5, 5)
        assert set(done.frame["batch_model"]) == {model}
        assert done.metadata["batch_assets/cost_usd"] > 0
        frames[name] = done.frame[["id", "text", "intent", "urgency", "batch_outcome"]]
        assert len(emulator.bill()) == place
    assert all(frame.equals(frames["openai"]) for frame in frames.values())


@pytest.mark.parametrize(
    ("resource", "emulated"),
    [
        (AnthropicBatchResource(api_key=dg.EnvVar("UNSET"), workspace=dg.EnvVar("UNSET")), "anthropic"),
        (OpenAIBatchResource(api_key="sk-real", base_url="https://api.openai.com/v1"), "openai"),
        (OpenAICompatibleBatchResource(dialect="azure", base_url=dg.EnvVar("UNSET")), "openai"),
        (RealtimeResource(dialect="deepseek", root="/nowhere", api_key="sk-real"), "openai"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_resource_that_is_given_is_sent_to_the_emulator(emulator: Emulator, resource: Any, emulated: str) -> None:
    done = night("mine", "a-model", emulator, {"mine": resource})
    assert set(done.frame["batch_outcome"]) == {"succeeded"}
    assert (done.requests, list(emulator.bill())) == (5, [emulated])


def test_requests_that_are_under_way_at_another_account(emulator: Emulator, tmp_path: Path) -> None:
    """Gemini's batches and Vertex AI's are the same vendor's: nothing is bought twice, and the run says where it is."""
    emulator.set_latency(1000)

    @batch_asset(provider="google", model="gemini-3-flash-preview", prompt="{{ text }}", output_type=str, row_key="id")
    def answers() -> Any:
        return [{"id": 1, "text": "I lost my card"}]

    def run(resource: BatchProviderResource, match: str) -> None:
        store = BatchStore(root=str(tmp_path), wait_seconds=0.3)
        google = resource.emulated(emulator.addresses, "")
        with pytest.raises(dg.Failure, match=match):
            dg.materialize([answers], resources={"google": google, "batch_store": store})

    run(GeminiBatchResource(), "0 of 1 results")
    run(VertexBatchResource(gcs_folder="gs://bucket"), r"under way at gemini\+\S+ already, by the resource 'google'")
    emulator.advance(1001)
    assert emulator.bill().keys() == {"gemini"}


def test_a_provider_that_is_not_known_has_to_be_given(emulator: Emulator) -> None:
    with pytest.raises(ConfigError, match=r"the resource 'mine'; give it, run_night\(..., resources=\{'mine': ...\}\)"):
        night("mine", "m", emulator)
    with pytest.raises(ConfigError, match="'mine' is a int"):
        night("mine", "m", emulator, {"mine": 3})
