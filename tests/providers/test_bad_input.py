"""What a batch API would refuse is refused when definitions load; what is wrong with an account is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from google.oauth2.credentials import Credentials
from pydantic import BaseModel, Field, create_model

from batch_assets.emulator import Emulator
from batch_assets.engine import submit_waiting
from batch_assets.errors import ConfigError, SchemaError, Transient
from batch_assets.lifecycle import State
from batch_assets.provider_contract.contract import SECRET, Bench
from batch_assets.provider_contract.nights import Nights
from batch_assets.providers.protocol import Provider
from batch_assets.providers.registry import make_provider
from batch_assets.providers.vertex import VertexProvider
from batch_assets.records import Request
from batch_assets.schema import OutputSchema

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # the storage client's connections
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
GOOGLE = {"project": "p", "location": "eu", "gcs_folder": "gs://bucket/batches"}


NEEDED = {"vertex": GOOGLE, "azure": {"base_url": "https://x.example/v1"}, "realtime": {"dialect": "deepseek"}}


def offline(name: str, **settings: str) -> Provider:
    return make_provider(name, {**NEEDED.get(name, {}), **settings})


def refused(name: str, said: str, **request: Any) -> None:
    with pytest.raises(ConfigError, match=said):
        offline(name).check(Request(**{"model": "m", "max_output_tokens": 10, **request}))


NAMES = ["openai", "anthropic", "gemini", "vertex", "mistral", "azure", "groq", "realtime"]


@pytest.mark.parametrize("name", NAMES)
def test_requests_that_no_batch_takes(name: str) -> None:
    offline(name).check(Request(model="m", max_output_tokens=10, system="Be kind."))
    refused(name, "'stream'", params={"stream": True})
    refused(name, "`model` is empty", model="")
    refused(name, "'model'", params={"model": "other"})


@pytest.mark.parametrize(
    ("name", "said", "request_"),
    [
        ("anthropic", "`max_output_tokens`", {"max_output_tokens": None}),
        ("anthropic", "service_tier='flex'.*`standard_only`", {"params": {"service_tier": "flex"}}),
        ("anthropic", "'speed'.*refuses", {"params": {"speed": "fast"}}),
        ("anthropic", "`chat` only", {"endpoint": "embeddings"}),
        ("openai", "'reasoning_effort'.*effort", {"endpoint": "responses", "params": {"reasoning_effort": "low"}}),
        ("openai", "'n', .*one response", {"params": {"n": 2}}),
        ("anthropic", "'output_config' with 'format'.*`output_type`", {"params": {"output_config": {"format": {}}}}),
        ("anthropic", "output_config='low'; write a mapping", {"params": {"output_config": "low"}}),
        ("openai", "'text' with 'format'", {"endpoint": "responses", "params": {"text": {"format": None}}}),
        ("openai", "'text', which only the Responses API", {"params": {"text": {"verbosity": "low"}}}),
        ("openai", "'n', .*one response", {"params": {"n": True}}),
        ("openai", "'n', .*one response", {"endpoint": "responses", "params": {"n": 1}}),
        ("openai", "'encoding_format'", {"endpoint": "embeddings", "params": {"encoding_format": "base64"}}),
        ("openai", "'background'", {"endpoint": "responses", "params": {"background": True}}),
        ("anthropic", "'store'", {"params": {"store": False}}),
        ("gemini", "'stream'", {"params": {"stream": False}}),
        ("gemini", "'responseModalities'", {"params": {"responseModalities": ["TEXT", "IMAGE"]}}),
        ("groq", "takes `chat`", {"endpoint": "responses"}),
        ("gemini", "'cachedContent'", {"params": {"cachedContent": "x"}}),
        ("vertex", "'cached_content'.*Vertex AI refuses", {"params": {"cached_content": "x"}}),
        ("vertex", "'candidateCount'", {"params": {"candidateCount": 3}}),
        ("vertex", "AnthropicBatchResource", {"model": "claude-haiku-4-5"}),
        ("vertex", "AnthropicBatchResource", {"model": "publishers/anthropic/models/claude-haiku-4-5"}),
        ("mistral", "`random_seed`", {"params": {"seed": 1}}),
        ("mistral", "`chat` or `embeddings`", {"endpoint": "responses"}),
    ],
)
def test_requests_that_one_provider_does_not_take(name: str, said: str, request_: dict[str, Any]) -> None:
    refused(name, said, **request_)


def test_only_the_usual_tier_is_taken() -> None:
    for name in ("openai", "azure", "groq"):
        refused(name, "service_tier='flex', which is of calls one by one", params={"service_tier": "flex"})
    for tier in ("flex", "priority"):
        refused("realtime", f"service_tier='{tier}'.*`max_cost_usd`.*standard", params={"service_tier": tier})
    for name in ("openai", "azure", "groq", "realtime"):
        for tier in ("auto", "default", None):
            offline(name).check(Request(model="m", params={"service_tier": tier}))
    offline("mistral").check(Request(model="m", params={"service_tier": "standard_only"}))


@pytest.mark.parametrize(
    ("name", "model", "is_one_of"),
    [
        ("openai", "claude-haiku-4-5", "Anthropic"),
        ("anthropic", "gpt-5-mini", "OpenAI"),
        ("gemini", "mistral-small-2603", "Mistral"),
        ("vertex", "publishers/google/models/gpt-5-mini", "OpenAI"),
        ("mistral", "gemini-3-flash-preview", "Google"),
        ("groq", "gemini-3-flash-preview", "Google"),
        ("deepseek", "gpt-5-mini", "OpenAI"),
    ],
)
def test_models_of_another_vendor(name: str, model: str, is_one_of: str) -> None:
    refused(name, f"`model` is .*, which is {is_one_of}'s, and the provider '{name}' is .*BatchResource", model=model)


def test_models_are_the_hosts_own_business_where_it_is_not_the_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Request(model="claude-haiku-4-5", max_output_tokens=10)
    gateway = {"base_url": "https://gateway.example/v1"}
    for name in ("azure", "gateway", "openai", "groq", "doubleword"):
        make_provider(name, gateway).check(foreign)
    make_provider("mistral", {"server_url": "https://gateway.example"}).check(foreign)
    other = Request(model="gpt-5-mini", max_output_tokens=10)
    for name in ("anthropic", "gemini"):
        make_provider(name, {"base_url": "https://gateway.example"}).check(other)
    make_provider("vertex", {**GOOGLE, "base_url": "https://gateway.example"}).check(other)
    for variable, name in (("OPENAI_BASE_URL", "openai"), ("ANTHROPIC_BASE_URL", "anthropic")):
        monkeypatch.setenv(variable, "https://gateway.example")
        make_provider(name).check(Request(model="gemini-3-flash-preview", max_output_tokens=10))
    with pytest.raises(ConfigError, match="which is Anthropic's"):  # a region of the vendor's own
        make_provider("openai", {"base_url": "https://eu.api.openai.com/v1"}).check(foreign)


class Strange(BaseModel):
    size: Literal["small", "large"]
    tags: set[str] = Field(description="What it is about")


@pytest.mark.parametrize("name", ["openai", "gemini", "vertex", "mistral", "azure"])
def test_a_schema_outside_of_the_subset_names_the_field(name: str) -> None:
    schema = OutputSchema.of(Strange)
    with pytest.raises(SchemaError, match=r"'tags'.*'uniqueItems'"):
        offline(name).check(Request(model="m", json_schema=schema.json_schema))


def test_too_many_optional_fields_for_anthropic_are_named() -> None:
    fields: dict[str, Any] = {f"field_{number}": (str | None, ...) for number in range(17)}
    schema = OutputSchema.of(create_model("Wide", **fields))
    with pytest.raises(SchemaError, match=r"17 optional fields.*field_0, field_1, .*field_16"):
        offline("anthropic").check(Request(model="m", max_output_tokens=10, json_schema=schema.json_schema))


@pytest.mark.parametrize("name", NAMES)
def test_times_and_retries_that_cannot_be(name: str) -> None:
    for seconds in ("0", "-1", "nan", "inf"):
        with pytest.raises(ConfigError, match=f"`timeout_seconds` is {seconds}.*; write a number of seconds above 0"):
            offline(name, timeout_seconds=seconds)
    if name != "realtime":  # which has none
        with pytest.raises(ConfigError, match="`max_retries` is -1; write a whole number"):
            offline(name, max_retries="-1")


# ---------------------------------------------------------------- accounts

WRONG: list[tuple[str, dict[str, str], str, list[str]]] = [
    ("openai", {}, "OPENAI_API_KEY", ["openai", "401"]),
    ("anthropic", {}, "ANTHROPIC_API_KEY", ["anthropic", "401"]),
    ("gemini", {}, "GEMINI_API_KEY", ["gemini", "401", "API key not valid"]),
    ("mistral", {"server_url": "{}/mistral"}, "MISTRAL_API_KEY", ["mistral", "401"]),
    ("vertex", {**GOOGLE, "project": "nonexistent-one"}, "", ["vertex", "403", "projects/nonexistent-one"]),
    (
        "vertex",
        {**GOOGLE, "location": "europe-west99"},
        "",
        ["404", "page that is not Vertex AI's", "`location` is 'europe-west99': write one that Vertex AI has"],
    ),
    ("vertex", {**GOOGLE, "gcs_folder": "gs://nonexistent/x"}, "", ["gs://nonexistent/x", "bucket does not exist"]),
    ("vertex", {**GOOGLE, "gcs_folder": "gs://forbidden/x"}, "", ["gs://forbidden/x", "storage.objects.create access"]),
]


@pytest.mark.parametrize(("name", "settings", "key", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_account_is_said_in_one_line(  # noqa: PLR0917
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    settings: dict[str, str],
    key: str,
    said: list[str],
) -> None:
    """The night waits with it: nothing was sent, and it goes on when that is put right."""
    if key:
        monkeypatch.setenv(key, f"sk-invalid-{SECRET}")
    provider = make_provider(name, {key: value.format(emulator.url) for key, value in settings.items()})
    nights = Nights(Bench(provider=provider, emulator=emulator, model="gemini-3-flash", emulated=name), tmp_path)
    nights.plan(["a text"])
    assert submit_waiting(nights.ledger, provider, log=nights.log.append) == 0
    (shard,) = nights.ledger.open_shards(provider.account)
    reason = shard.last.reason or ""
    assert (shard.state, shard.last.whole_account) == (State.BLOCKED, True)
    assert all(words in reason for words in said), reason
    assert "\n" not in reason
    assert SECRET not in reason
    assert emulator.bill() == {}


def test_a_host_that_is_not_found_may_be_a_wrong_location(emulator: Emulator) -> None:
    """The network may be down as well, so that it is asked again."""
    token = Credentials(token=SECRET)
    for base_url, location in (("https://vertex.invalid", "europe-west99"), ("https://eu.invalid", "eu")):
        provider = VertexProvider(
            **{**GOOGLE, "location": location}, base_url=base_url, credentials=token, max_retries=0
        )
        with pytest.raises(Transient) as caught:
            provider.newest()
        said = str(caught.value)
        assert f"host {base_url.removeprefix('https://')} is not found: either the network is down" in said
        assert f"`location` is '{location}'" in said
        assert "\n" not in said


def test_a_location_that_is_none_is_named() -> None:
    for location in ("Frankfurt", "europe", "gs://x"):
        with pytest.raises(ConfigError, match=f"'{location}' as `location`; write a region, `europe-west4` say"):
            make_provider("vertex", {**GOOGLE, "location": location}).check_credentials()
