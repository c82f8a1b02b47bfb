"""Resources of the providers beyond OpenAI: what they configure, and what is checked when definitions load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import openai
import pytest
from dagster_gcp import GCSResource
from pydantic import ValidationError

from batch_assets.dagster import (
    AnthropicBatchResource,
    BatchProviderResource,
    GeminiBatchResource,
    HostDifferences,
    MistralBatchResource,
    OpenAIBatchResource,
    OpenAICompatibleBatchResource,
    RealtimeResource,
    VertexBatchResource,
    batch_definitions,
    build_batch_asset,
)
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError, PromptError
from batch_assets.records import Request
from batch_assets.testing import run_night


@dg.asset
def messages() -> None: ...


def defined(resource: Any, **options: Any) -> dg.Definitions:
    given = {"model": "m", "prompt": "{{ text }}", "output_type": str, "row_key": "id", **options}
    asset = build_batch_asset("answers", source="messages", provider="host", **given)
    return batch_definitions(assets=[messages, asset], resources={"host": resource})


UNSET = dg.EnvVar("UNSET")
OFFLINE: list[tuple[type[BatchProviderResource], dict[str, Any]]] = [
    (OpenAIBatchResource, {"base_url": UNSET, "organization": UNSET, "project": UNSET}),
    (AnthropicBatchResource, {"base_url": UNSET, "workspace": UNSET}),
    (GeminiBatchResource, {"base_url": UNSET, "project": UNSET}),
    (MistralBatchResource, {"server_url": UNSET, "workspace": UNSET}),
    (OpenAICompatibleBatchResource, {"dialect": "azure", "base_url": UNSET, "account_name": UNSET}),
    (RealtimeResource, {"dialect": "deepseek", "base_url": UNSET, "root": UNSET}),
    (
        VertexBatchResource,
        {"project": UNSET, "location": UNSET, "gcs_folder": UNSET, "gcs": GCSResource(project=UNSET)},
    ),
]


@pytest.mark.parametrize(("kind", "settings"), OFFLINE, ids=lambda value: getattr(value, "__name__", ""))
def test_requests_are_checked_without_what_is_known_at_the_run_only(
    kind: type[BatchProviderResource], settings: dict[str, Any]
) -> None:
    key = {"api_key": UNSET} if "api_key" in kind.model_fields else {}
    resource = kind(**settings, **key)
    defined(resource, max_output_tokens=10)
    with pytest.raises(ConfigError, match=r"answers: .*stream"):
        defined(resource, max_output_tokens=10, params={"stream": True})


@pytest.mark.parametrize("kind", [kind for kind, _ in OFFLINE])
def test_every_setting_is_described(kind: type[BatchProviderResource]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.description] == []


def test_every_difference_is_described() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "providers.md").read_text()
    for name, field in HostDifferences.model_fields.items():
        assert field.description
        assert f"`{name}`" in document


def test_anthropic() -> None:
    resource = AnthropicBatchResource(
        api_key="k", workspace="wrkspc_1", prompt_caching=True, max_open_batches=3, max_enqueued_tokens=1000
    )
    provider = resource.provider("host")
    assert (provider.name, provider.account) == ("host", "anthropic+wrkspc_1")
    assert (provider.queue.max_open_batches, provider.queue.max_enqueued_tokens) == (3, 1000)
    request = Request(model="m", system="Be kind.", max_output_tokens=10)
    (line,) = provider.envelope(request).lines(["x" * 63], [b'"text"'])
    assert b'"cache_control":{"type":"ephemeral","ttl":"1h"}' in line
    with pytest.raises(ConfigError, match="`max_output_tokens` is not set"):
        defined(resource)


def test_gemini() -> None:
    provider = GeminiBatchResource(api_key="k", project="p", inline_bytes=0).provider("host")
    assert (provider.name, provider.account) == ("host", "gemini+p")
    with pytest.raises(ConfigError, match="take `chat` only"):
        defined(GeminiBatchResource(), endpoint="responses")


def test_vertex() -> None:
    gcs = GCSResource(project="p")
    resource = VertexBatchResource(project="p", location="europe-west4", gcs_folder="gs://bucket/batches", gcs=gcs)
    provider = resource.provider("host")
    assert (provider.name, provider.account) == ("host", "vertex+p+europe-west4")
    with pytest.raises(ConfigError, match=r"cachedContent.*Vertex AI refuses them"):
        defined(resource, params={"cachedContent": "x"})


def test_mistral() -> None:
    provider = MistralBatchResource(api_key="k", server_url="https://eu.example", workspace="w").provider("host")
    assert (provider.name, provider.account) == ("host", "mistral+eu.example+w")
    defined(MistralBatchResource(api_key=dg.EnvVar("UNSET")))
    with pytest.raises(ConfigError, match="`chat` or `embeddings`"):
        defined(MistralBatchResource(), endpoint="responses")


def test_hosts_that_speak_openais_api() -> None:
    resource = OpenAICompatibleBatchResource(
        dialect="azure",
        api_key="k",
        base_url="https://blue.openai.azure.com/openai/v1",
        account_name="a",
        headers={"x-team": "t"},
        assumed_batch_discount=0.4,
    )
    provider = resource.provider("host")
    assert (provider.name, provider.account) == ("host", "azure+blue.openai.azure.com+a")
    assert str(provider.assumed_batch_discount) == "0.4"
    defined(OpenAICompatibleBatchResource(dialect="azure", api_key=dg.EnvVar("A"), base_url=dg.EnvVar("B")))
    with pytest.raises(ConfigError, match="Groq takes `chat`"):
        defined(OpenAICompatibleBatchResource(dialect="groq"), endpoint="embeddings", output_type=None)
    with pytest.raises(ConfigError, match="set `base_url`"):
        defined(OpenAICompatibleBatchResource(dialect="azure"))


def test_images_and_pdfs_that_a_host_does_not_take_are_refused_when_definitions_load(tmp_path: Path) -> None:
    groq = OpenAICompatibleBatchResource(dialect="groq")
    defined(groq, prompt="{{ photo | image }}")
    with pytest.raises(PromptError, match=r"answers: prompt uses `\| pdf`, and Groq's batches take no PDFs"):
        defined(groq, prompt="{{ scan | pdf }}")
    with pytest.raises(PromptError, match="DeepSeek's chat completions take no images"):
        defined(RealtimeResource(dialect="deepseek", root=str(tmp_path)), prompt="{{ photo | image }}")
    with pytest.raises(PromptError, match="a text alone"):
        embedding = {"endpoint": "embeddings", "output_type": None}
        defined(MistralBatchResource(), prompt="{{ photo | image }}", **embedding)


def test_hosts_without_batches(tmp_path: Path) -> None:
    root = tmp_path / "realtime"
    resource = RealtimeResource(dialect="deepseek", root=str(root), api_key="k", account_name="a", concurrency=3)
    provider = resource.provider("host")
    assert (provider.name, provider.limits.realtime) == ("host", True)
    defined(resource)
    defined(RealtimeResource(dialect="gateway", root=dg.EnvVar("A"), base_url=dg.EnvVar("B"), api_key=dg.EnvVar("C")))
    assert not root.exists()  # nothing is written when definitions load
    assert provider.account.startswith("realtime+deepseek+a+")
    assert provider.newest() is None
    with pytest.raises(ConfigError, match="DeepSeek takes `chat`"):
        defined(resource, endpoint="responses")


ACME: dict[str, Any] = {
    "name": "Acme",
    "vendor": "acme",
    "key_variable": "ACME_API_KEY",
    "key_header": "x-acme-key",
    "urls": {"chat": "/llm/chat"},
    "windows": ["12h", "3d"],
    "metadata": False,
    "statuses": {"partial": "expired"},
    "max_requests": 3,
    "structured_output": "json_object",
    "chat_limit_param": "max_tokens",
    "console_url": "https://console.acme.example/batches/{}",
}
ACME_URL = "https://llm.acme.example/v1"


def answers_of(**options: Any) -> dg.AssetsDefinition:
    given = {"model": "m", "prompt": "{{ text }}", "output_type": str, "row_key": "id", "max_output_tokens": 50}
    return build_batch_asset("answers", source="messages", provider="host", **given, **options)


def test_a_night_at_a_host_that_is_declared(batch_emulator: Emulator) -> None:
    """Its batches never say `completed`; the first one ends early, and what it had finished is kept."""
    batch_emulator.arm("expired", fraction=0.4)
    for operation in ("batches.list", "batches.retrieve"):
        batch_emulator.arm("unknown_status", operation=operation, status="partial", times=1000)
    batch_emulator.set_limits(max_requests=3)
    host = OpenAICompatibleBatchResource(dialect="gateway", differences=ACME, base_url=ACME_URL, completion_window="3d")
    rows = [{"id": number, "text": f"Card {number} is lost"} for number in range(7)]
    night = run_night(answers_of(), rows, resources={"host": host}, emulator=batch_emulator)
    assert night.table["batch_outcome"].to_pylist() == ["succeeded"] * 7
    assert night.requests == 7
    with openai.OpenAI(api_key="emulated", base_url=batch_emulator.addresses["hosts"]) as client:
        batches = list(client.batches.list())
    assert {(batch.completion_window, batch.metadata) for batch in batches} == {("3d", None)}
    assert len(batches) == 4


def test_a_host_without_batches_that_is_declared(batch_emulator: Emulator, tmp_path: Path) -> None:
    host = RealtimeResource(
        dialect="gateway",
        differences=HostDifferences(**ACME),
        base_url=ACME_URL,
        root=str(tmp_path),
        api_key="k",
        api_version="7",
        headers={"x-team": "t"},
        requests_per_batch=2,
    )
    provider = host.provider("host")
    assert provider.account.startswith("realtime+acme+llm.acme.example+")
    assert provider.limits.max_requests == 2
    (line,) = provider.envelope(Request(model="m", max_output_tokens=9)).lines(["i"], [b'"text"'])
    assert b'"url":"/llm/chat"' in line
    assert b'"max_tokens":9' in line
    rows = [{"id": number, "text": f"Card {number} is lost"} for number in range(3)]
    night = run_night(answers_of(), rows, resources={"host": host}, emulator=batch_emulator)
    assert night.table["batch_outcome"].to_pylist() == ["succeeded"] * 3
    assert len(set(night.table["batch_id"].to_pylist())) == 2


def test_a_host_is_declared_in_the_configuration_of_a_run() -> None:
    seen = []

    @dg.asset
    def looked_at(host: OpenAICompatibleBatchResource) -> None:
        seen.append(host.provider("host"))

    config = {"dialect": "gateway", "base_url": ACME_URL, "differences": ACME}
    dg.materialize(
        [looked_at],
        resources={"host": OpenAICompatibleBatchResource.configure_at_launch()},
        run_config={"resources": {"host": {"config": config}}},
    )
    (provider,) = seen
    assert (provider.account, provider.limits.max_requests) == ("acme+llm.acme.example", 3)
    assert provider.console_url("b") == "https://console.acme.example/batches/b"
    assert provider.dialect == OpenAICompatibleBatchResource(**config).provider("host").dialect


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ({"max_requests": 0}, "`differences.max_requests` is 0: Input should be greater than or equal to 1"),
        ({"limits": {}}, "`differences` has no field 'limits'; it has chat_limit_param, console_url, "),
        ({"vendor": dg.EnvVar("A")}, "`differences.vendor` is an EnvVar; write its value"),
        ({"max_bytes": dg.EnvVar.int("A")}, "`differences.max_bytes` is an EnvVar; write its value"),
        ("acme", "`differences` is no mapping; its fields are chat_limit_param"),
    ],
)
def test_a_host_that_cannot_be_is_refused_when_definitions_load(differences: Any, said: str, tmp_path: Path) -> None:
    for resource, more in ((OpenAICompatibleBatchResource, {}), (RealtimeResource, {"root": str(tmp_path)})):
        with pytest.raises(ConfigError, match=rf"^{re.escape(said)}") as error:
            resource(dialect="gateway", differences=differences, **more)
        assert len(str(error.value).splitlines()) == 1


def test_what_does_not_go_with_the_preset_is_refused_when_definitions_load() -> None:
    resource = OpenAICompatibleBatchResource(dialect="groq", differences={"max_request_bytes": 150_000_000})
    with pytest.raises(ConfigError, match=r"answers: `differences.max_request_bytes` is 150000000, .* 100000000; "):
        defined(resource)
    acme = OpenAICompatibleBatchResource(dialect="gateway", differences=ACME, base_url=ACME_URL)
    with pytest.raises(ConfigError, match="answers: `endpoint` is 'responses'; Acme takes `chat` in batches"):
        defined(acme, endpoint="responses")
    defined(acme, prompt="{{ photo | image }}")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dialect": "acme"},
        {"dialect": "groq", "assumed_batch_discount": 1.0},
        {"dialect": "groq", "max_retries": -1},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, dg.DagsterError)):
        OpenAICompatibleBatchResource(**settings)


PLACE = {"project": "p", "location": "eu", "gcs_folder": "gs://bucket/batches"}


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (VertexBatchResource, {**PLACE, "location": "Frankfurt"}, "'Frankfurt' as `location`; write a region"),
        (VertexBatchResource, {**PLACE, "location": "europe"}, "'europe' as `location`"),
        (VertexBatchResource, {**PLACE, "gcs_folder": "bucket"}, "'bucket' as `gcs_folder`; write gs://bucket/folder"),
        (VertexBatchResource, {**PLACE, "gcs_folder": "gs://My Bucket"}, "as `gcs_folder`"),
        (VertexBatchResource, {**PLACE, "project": "My Project"}, "'My Project' as `project`; write the project's id"),
        (VertexBatchResource, {**PLACE, "base_url": "localhost:80"}, "`base_url` is 'localhost:80'"),
        (OpenAIBatchResource, {"base_url": "api.openai.com/v1"}, "`base_url` is 'api.openai.com/v1'; write the root"),
        (OpenAIBatchResource, {"base_url": "https://user:SECRET@host:x"}, "`base_url` is 'host:x'"),
        (AnthropicBatchResource, {"base_url": "https://host/v1"}, "leave out `/v1`"),
        (GeminiBatchResource, {"base_url": "https://host/v1beta/"}, "leave out `/v1beta`"),
        (MistralBatchResource, {"server_url": "https://"}, "`server_url` is 'https://'"),
        (OpenAICompatibleBatchResource, {"dialect": "gateway", "base_url": "host"}, "`base_url` is 'host'"),
        (OpenAICompatibleBatchResource, {"dialect": "groq", "completion_window": "2h"}, "`completion_window` is '2h'"),
        (RealtimeResource, {"dialect": "gateway", "base_url": "host", "root": "x"}, "`base_url` is 'host'"),
        (RealtimeResource, {"dialect": "deepseek", "root": "s3://bucket"}, "'s3://bucket' is no place to store in"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_settings_that_cannot_be_right_are_refused_when_definitions_load(
    kind: type[BatchProviderResource], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        defined(kind(**settings), max_output_tokens=10)
    assert str(caught.value).startswith("answers: ")
    assert "SECRET" not in str(caught.value)


def test_models_are_judged_where_the_address_is_known_to_be_the_vendors() -> None:
    foreign = {"model": "gemini-3-flash-preview", "max_output_tokens": 10}
    for kind in (OpenAIBatchResource, AnthropicBatchResource):
        with pytest.raises(ConfigError, match=r"answers: `model` is 'gemini-3-flash-preview', which is Google's"):
            defined(kind(), **foreign)
        defined(kind(base_url=UNSET), **foreign)  # a gateway, perhaps
    with pytest.raises(ConfigError, match="which is Google's"):
        defined(MistralBatchResource(), **foreign)
    defined(MistralBatchResource(server_url=UNSET), **foreign)


def test_locations_that_may_come_into_being_load() -> None:
    for location in ("europe-west99", "us-gov-west1", "global", "eu"):
        place = {**PLACE, "location": location, "project": "example.com:my-project"}
        definitions = defined(VertexBatchResource(**place))
        assert definitions.resolve_assets_def("answers").key == dg.AssetKey("answers")


def test_secrets_are_not_shown() -> None:
    for resource in (
        OpenAIBatchResource(api_key="sk-SECRET"),
        AnthropicBatchResource(api_key="sk-SECRET"),
        GeminiBatchResource(api_key="sk-SECRET"),
        MistralBatchResource(api_key="sk-SECRET"),
        OpenAICompatibleBatchResource(dialect="groq", api_key="sk-SECRET"),
    ):
        assert "sk-SECRET" not in repr(resource)
        assert "sk-SECRET" not in repr(resource.provider("host"))


def test_embeddings_need_no_output_type_and_others_do() -> None:
    defined(MistralBatchResource(), endpoint="embeddings", output_type=None)
    with pytest.raises(ConfigError, match="`output_type` is not set"):
        defined(MistralBatchResource(), output_type=None)
