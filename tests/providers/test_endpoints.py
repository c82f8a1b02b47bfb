"""OpenAI's Responses API and embeddings beside chat, and Mistral's embeddings, through the whole engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.responses import Response
from provider_world import Intent, Nights, messages, spec_of

from batch_assets.emulator import Emulator
from batch_assets.engine import AssetSpec
from batch_assets.errors import ConfigError
from batch_assets.prompts import Prompt
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import Request
from batch_assets.schema import OutputSchema

EMBEDDING = "text-embedding-3-small"


@pytest.fixture
def openai(emulator: Emulator) -> OpenAIProvider:
    return OpenAIProvider(api_key="sk-test", base_url=emulator.openai_base_url, max_retries=0)


def embedded(model: str = EMBEDDING, prompt: str = "{{ text }}", **more: Any) -> AssetSpec:
    return spec_of(model, prompt=prompt, schema=OutputSchema.embedding(), endpoint="embeddings", **more)


# ---------------------------------------------------------------- responses


def test_a_night_of_responses(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", endpoint="responses", max_output_tokens=100, params={"reasoning": {"effort": "low"}})
    nights = Nights(tmp_path, openai)
    landing, table = nights.night(spec, messages(30))
    assert landing.outcomes == {"succeeded": 30}
    assert set(table["urgency"].to_pylist()) <= {1, 2, 3, 4, 5}
    assert set(table["batch_finish_reason"].to_pylist()) == {"stop"}
    assert landing.rate_source == "published"
    assert landing.cost_usd is not None
    assert landing.cost_usd > 0
    assert landing.input_tokens == emulator.bill()["openai"]["input_tokens"]
    assert landing.output_tokens == emulator.bill()["openai"]["output_tokens"]
    (batch,) = openai.batches()
    for line in openai.results(batch):
        Response.model_validate(orjson.loads(line)["response"]["body"], strict=True)


def test_responses_of_every_outcome(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    for number, fault in enumerate(["refusal", "length", "content_filter", "schema_violation", "invalid_json"]):
        emulator.arm(fault, contains=f"Message {number}:", times=9)
    emulator.arm("request_error", contains="Message 5:", status=500)  # once: cured by another attempt
    landing, table = Nights(tmp_path, openai).night(
        spec_of("gpt-5-mini", endpoint="responses", max_attempts=2), messages(8)
    )
    outcomes = table["batch_outcome"].to_pylist()
    assert outcomes == ["errored", "invalid", "errored", "invalid", "invalid", "succeeded", "succeeded", "succeeded"]
    assert table["batch_finish_reason"].to_pylist()[1] == "length"
    assert table["batch_attempts"].to_pylist() == [1, 1, 1, 2, 2, 2, 1, 1]
    assert landing.errors == {"refusal": 1, "length": 1, "content_filter": 1, "invalid": 2}


def test_a_system_prompt_and_plain_text(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    spec = spec_of("gpt-5-mini", str, endpoint="responses", system="Be brief.")
    landing, table = Nights(tmp_path, openai).night(spec, messages(3))
    assert landing.outcomes == {"succeeded": 3}
    assert all(table["response"].to_pylist())


# ---------------------------------------------------------------- embeddings


def test_a_night_of_embeddings(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    nights = Nights(tmp_path, openai)
    landing, table = nights.night(embedded(params={"dimensions": 64}), messages(40))
    assert landing.outcomes == {"succeeded": 40}
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert {len(vector) for vector in table["embedding"].to_pylist()} == {64}
    (batch,) = openai.batches()
    answers = {}
    for line in openai.results(batch):
        body = orjson.loads(line)["response"]["body"]
        answers[orjson.loads(line)["custom_id"]] = CreateEmbeddingResponse.model_validate(body, strict=True)
    for custom_id, vector in zip(table["batch_custom_id"].to_pylist(), table["embedding"].to_pylist(), strict=True):
        assert vector == pytest.approx(answers[custom_id].data[0].embedding)
    bill = emulator.bill()["openai"]
    assert (landing.input_tokens, landing.output_tokens) == (bill["input_tokens"], 0)
    assert landing.rate_source == "assumed"  # genai-prices has no batch rate of it
    assert landing.cost_usd is not None
    assert landing.standard_usd is not None
    assert 0 < landing.cost_usd * 2 == landing.standard_usd
    assert landing.estimate.output_tokens == 0
    assert landing.estimate.max_usd is not None  # a hard bound: there is no output
    assert landing.estimate.max_usd >= landing.cost_usd
    nights.night(embedded(params={"dimensions": 64}), messages(41))
    assert emulator.bill()["openai"]["requests"] == 41  # the others are reused


def test_embeddings_that_fail(openai: OpenAIProvider, emulator: Emulator, tmp_path: Path) -> None:
    emulator.arm("request_error", contains="Message 1:", status=400, code="invalid_value", message="too long")
    emulator.arm("request_error", contains="Message 2:", status=500)
    landing, table = Nights(tmp_path, openai).night(embedded(), messages(4))
    assert landing.outcomes == {"succeeded": 3, "errored": 1}
    assert table["batch_error"].to_pylist()[1] == "too long"
    assert [vector is None for vector in table["embedding"].to_pylist()] == [False, True, False, False]


def test_mistrals_embeddings(emulator: Emulator, tmp_path: Path) -> None:
    provider = MistralProvider(api_key="k", server_url=emulator.mistral_server_url, max_retries=0)
    landing, table = Nights(tmp_path, provider).night(embedded("mistral-embed"), messages(5))
    assert landing.outcomes == {"succeeded": 5}
    assert {len(vector) for vector in table["embedding"].to_pylist()} == {1024}
    assert landing.input_tokens == emulator.bill()["mistral"]["input_tokens"]


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ({"request": {"system": "x"}}, "system"),
        ({"prompt": Prompt("{{ text }}", system="x")}, "system"),
        ({"request": {"max_output_tokens": 5}}, "max_output_tokens"),
        ({"schema": OutputSchema.of(Intent)}, "output_type"),
        ({"schema": OutputSchema.of(str)}, "output_type"),
    ],
)
def test_what_embeddings_have_no_use_for_is_refused(more: dict[str, Any], setting: str) -> None:
    given: dict[str, Any] = {
        "prompt": Prompt("{{ text }}"),
        "schema": OutputSchema.embedding(),
        **more,
        "request": Request(model=EMBEDDING, endpoint="embeddings", **more.get("request", {})),
    }
    with pytest.raises(ConfigError, match=f"queries: `{setting}` is set"):
        AssetSpec(asset="queries", provider="openai", row_key="id", **given)


def test_a_vector_needs_the_endpoint() -> None:
    with pytest.raises(ConfigError, match='endpoint="embeddings"'):
        spec_of("gpt-5-mini", schema=OutputSchema.embedding())


def test_embeddings_are_read_as_floats(openai: OpenAIProvider) -> None:
    with pytest.raises(ConfigError, match="encoding_format"):
        openai.check(Request(model=EMBEDDING, endpoint="embeddings", params={"encoding_format": "base64"}))


# ---------------------------------------------------------------- vectors


def test_the_schema_of_vectors_is_restored_and_their_texts_decoded() -> None:
    schema = OutputSchema.from_json(OutputSchema.embedding().to_json())
    assert schema.is_embedding
    assert not OutputSchema.of(str).is_embedding
    bad = ["[]", "[[1]]", '["a"]', "{}", "1", "[1,", "[1e99]", "[null]", "[true, 2"]
    decoded = schema.decoder().decode(["[0.25,-1]", None, b"[1,2,3]", *bad])
    assert decoded.columns[0].to_pylist() == [[0.25, -1.0], None, [1.0, 2.0, 3.0], *[None] * len(bad)]
    assert sorted(decoded.errors) == list(range(3, 3 + len(bad)))
    assert schema.decoder().decode([]).columns[0].type == pa.list_(pa.float32())
