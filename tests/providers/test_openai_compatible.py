"""Hosts that speak OpenAI's batch API: what differs is data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from provider_world import OPENAI_STATUSES, Intent, Nights, messages, spec_of
from pydantic import TypeAdapter

from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError
from batch_assets.fingerprint import Fingerprinter
from batch_assets.provider_contract import ProviderContract
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.openai_compatible import OpenAICompatibleProvider
from batch_assets.providers.openai_dialects import AZURE, GATEWAY, GROQ, PRESETS, STATUSES
from batch_assets.providers.openai_differences import declared
from batch_assets.providers.protocol import Provider
from batch_assets.records import BatchPhase, Ending, Request
from batch_assets.schema import OutputSchema

SECRET = "sk-SECRET-0123456789"


def host_url(emulator: Emulator) -> str:
    return f"{emulator.url}/openai/v1"


# ---------------------------------------------------------------- the contract


class HostContract(ProviderContract):
    """Of a dialect, against the emulator of OpenAI's API."""

    emulated = "openai"
    statuses: ClassVar = OPENAI_STATUSES
    dialect: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}

    def provide(self, emulator: Any, secret: str, retries: int = 0) -> OpenAICompatibleProvider:
        return OpenAICompatibleProvider(
            dialect=self.dialect, api_key=secret, base_url=host_url(emulator), max_retries=retries, **self.settings
        )


class TestAzure(HostContract):
    dialect = "azure"
    model = "my-deployment"
    key_variable = "AZURE_OPENAI_API_KEY"


class TestGroq(HostContract):
    """With a window of its own."""

    dialect = "groq"
    model = "llama-3.3-70b-versatile"
    key_variable = "GROQ_API_KEY"
    settings: ClassVar = {"completion_window": "7d"}


class TestDoubleword(HostContract):
    dialect = "doubleword"
    model = "Qwen/Qwen3-14B-FP8"
    key_variable = "DOUBLEWORD_API_KEY"


class TestDeclaredHost(HostContract):
    """A gateway, with what a host of nobody's list could have: its own limits, statuses, and no metadata."""

    dialect = "gateway"
    model = "m"
    key_variable = "ACME_API_KEY"
    shows_stamp = False
    statuses: ClassVar = {
        **OPENAI_STATUSES,
        "paused": (BatchPhase.RUNNING, None),
        "partial": (BatchPhase.ENDED, Ending.EXPIRED),
    }
    settings: ClassVar = {
        "differences": {
            "vendor": "acme",
            "key_variable": "ACME_API_KEY",
            "windows": ["3d"],
            "metadata": False,
            "statuses": {"paused": "running", "partial": "expired"},
            "max_requests": 1_000,
            "max_bytes": 5_000_000,
            "chat_limit_param": "max_tokens",
        }
    }


# ---------------------------------------------------------------- what goes to the host


class _Recorder(BaseHTTPRequestHandler):
    calls: list[tuple[str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        self._answer({"object": "list", "data": [], "has_more": False})

    def do_POST(self) -> None:
        self._answer({"id": "batch_1", "object": "batch", "endpoint": "x", "input_file_id": "f", "created_at": 1})

    def _answer(self, body: dict[str, Any]) -> None:
        given = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.calls.append((self.path, {name.lower(): value for name, value in self.headers.items()}, given))
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A host that writes down what it is sent; OpenAI's own settings are in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-openai")
    calls: list[tuple[str, dict[str, str], bytes]] = []
    handler = type("Handler", (_Recorder,), {"calls": calls})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", calls
        server.shutdown()
        thread.join()


def created(provider: OpenAICompatibleProvider) -> None:
    provider.create(stamp="s", request=Request(model="m"), input_file="f", lines=lambda: iter(()), timeout_seconds=5)


@pytest.mark.parametrize("dialect", sorted(PRESETS))
def test_nothing_of_openais_own_goes_to_another_host(
    recorder: tuple[str, list[tuple[str, dict[str, str], bytes]]], dialect: str
) -> None:
    root, calls = recorder
    provider = OpenAICompatibleProvider(dialect=dialect, api_key=SECRET, base_url=f"{root}/v1", max_retries=0)
    provider.newest()
    created(provider)
    assert [path.partition("?")[0] for path, _, _ in calls] == ["/v1/batches", "/v1/batches"]
    for _, headers, _ in calls:
        assert "of-openai" not in str(headers)
        assert headers.get(PRESETS[dialect].key_header or "authorization", "").endswith(SECRET)
        assert not {"openai-organization", "openai-project"} & headers.keys()
    if dialect == "azure":
        assert all("authorization" not in headers for _, headers, _ in calls)


def test_a_key_of_openais_is_not_taken_for_another_hosts(
    recorder: tuple[str, list[tuple[str, dict[str, str], bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, calls = recorder
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="GROQ_API_KEY"):
        OpenAICompatibleProvider(dialect="groq", base_url=root).check_credentials()
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    OpenAICompatibleProvider(dialect="groq", base_url=root, max_retries=0).newest()
    OpenAICompatibleProvider(dialect="gateway", base_url=root, max_retries=0).newest()
    assert [headers["authorization"] for _, headers, _ in calls] == [f"Bearer {SECRET}", "Bearer none"]


def test_a_declared_host_is_spoken_to_as_it_says(
    recorder: tuple[str, list[tuple[str, dict[str, str], bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, calls = recorder
    monkeypatch.setenv("ACME_API_KEY", SECRET)
    provider = OpenAICompatibleProvider(
        dialect="gateway",
        base_url=f"{root}/api",
        differences={
            "key_variable": "ACME_API_KEY",
            "key_header": "x-acme-key",
            "urls": {"chat": "/llm/chat", "embeddings": "/llm/vectors"},
            "windows": ["3d", "12h"],
            "metadata": False,
        },
    )
    created(provider)
    ((path, headers, body),) = calls
    assert path == "/api/batches"
    assert headers["x-acme-key"] == SECRET
    assert "authorization" not in headers
    assert json.loads(body) == {"input_file_id": "f", "endpoint": "/llm/chat", "completion_window": "3d"}
    (line,) = provider.envelope(Request(model="m", endpoint="embeddings")).lines(["i"], [b'"text"'])
    assert orjson.loads(line)["url"] == "/llm/vectors"
    with pytest.raises(ConfigError, match="takes `chat` or `embeddings`"):
        provider.check(Request(model="m", endpoint="responses"))


def test_versions_headers_and_windows_reach_the_host(
    recorder: tuple[str, list[tuple[str, dict[str, str], bytes]]],
) -> None:
    root, calls = recorder
    provider = OpenAICompatibleProvider(
        dialect=replace(AZURE, windows=("24h", "48h"), metadata=False),
        api_key=SECRET,
        base_url=f"{root}/openai",
        api_version="2026-01-01",
        headers={"x-litellm-model": "m"},
        completion_window="48h",
    )
    created(provider)
    ((path, headers, body),) = calls
    assert path == "/openai/batches?api-version=2026-01-01"
    assert headers["x-litellm-model"] == "m"
    assert json.loads(body) == {"input_file_id": "f", "endpoint": "/v1/chat/completions", "completion_window": "48h"}


# ---------------------------------------------------------------- records


def test_accounts_hosts_and_prices() -> None:
    groq = OpenAICompatibleProvider(dialect="groq", api_key="k")
    assert (groq.account, groq.host, groq.vendor, groq.name) == ("groq", None, "groq", "groq")
    assert groq.assumed_batch_discount == Decimal("0.5")
    azure = OpenAICompatibleProvider(
        dialect="azure", name="blue", api_key="k", base_url="https://blue.openai.azure.com/openai/v1", account_name="a"
    )
    assert (azure.account, azure.host) == ("azure+blue.openai.azure.com+a", "blue.openai.azure.com")
    gateway = OpenAICompatibleProvider(dialect="gateway", base_url="http://localhost:4000")
    assert (gateway.account, gateway.host) == ("gateway+localhost:4000", "localhost:4000")
    assert gateway.assumed_batch_discount is None
    for provider in (groq, azure, gateway):
        assert isinstance(provider, Provider)
        assert SECRET not in repr(provider)


def test_a_model_that_is_local_to_a_host_has_that_host_in_its_fingerprints() -> None:
    prints = set()
    for base_url in ("http://one:4000", "http://two:4000"):
        provider = OpenAICompatibleProvider(dialect="gateway", base_url=base_url)
        fingerprinter = Fingerprinter(Request(model="m"), vendor=provider.vendor, host=provider.host)
        prints.add(fingerprinter.of([b'"x"']).tobytes())
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dialect": "acme"}, "known are azure, doubleword, gateway, groq"),
        ({"dialect": "azure"}, "set `base_url`"),
        ({"dialect": "gateway", "base_url": "localhost:4000"}, "https://host/v1"),
        ({"dialect": "groq", "completion_window": "1h"}, "Groq takes 24h, 48h"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OpenAICompatibleProvider(**settings)


def test_a_declared_host_is_its_preset_where_it_says_nothing() -> None:
    host = declared(GROQ, {"max_bytes": 1_000, "no_money_codes": ["broke"], "console_url": "", "key_header": ""})
    assert (host.limits.max_bytes, host.limits.max_request_bytes) == (1_000, 1_000)
    assert host.no_money_codes == GROQ.no_money_codes | {"broke"}
    assert (host.console_url, host.key_header) == (None, None)
    limits, codes = GROQ.limits, GROQ.no_money_codes
    assert replace(host, limits=limits, no_money_codes=codes, console_url=GROQ.console_url) == GROQ
    assert declared(AZURE, {}) == AZURE
    statuses = {"paused": "running", "partial": "expired", "cancelled": "canceled"}
    named = declared(AZURE, {"name": "Acme", "key_variable": "acme_key", "statuses": statuses})
    assert named.media["responses"].name == "Acme's responses"
    assert named.statuses.keys() == STATUSES.keys() | {"paused", "partial"}
    assert named.statuses["partial"] == (BatchPhase.ENDED, Ending.EXPIRED)


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({"name": "a\nb"}, "`differences.name` is 'a\\nb'; write what people call the host"),
        ({"vendor": "a+b"}, "`differences.vendor` is 'a+b'; write lower-case letters"),
        ({"key_variable": SECRET}, "`differences.key_variable` is no name of that kind; write"),
        ({"key_variable": "k" * 32}, "`differences.key_variable` is no name of that kind; write"),
        ({"key_header": f"Bearer {SECRET}"}, "`differences.key_header` is no name of that kind; write"),
        ({"key_header": "Authorization"}, "or leave it out: the key then goes into `Authorization`"),
        ({"key_header": [SECRET]}, "`differences.key_header` is no text"),
        ({"urls": {}}, "`differences.urls` is empty"),
        ({"urls": {"completions": "/x"}}, "`differences.urls` has 'completions'; the endpoints are chat, resp"),
        ({"urls": {"chat": "v1/chat"}}, "`differences.urls` of 'chat' is 'v1/chat'; write a path"),
        ({"windows": []}, "`differences.windows` is empty"),
        ({"windows": ["24h", "0h"]}, "`differences.windows` is '0h'; write hours or days"),
        ({"windows": "24h"}, "`differences.windows` is '24h': Input should be a valid list"),
        ({"metadata": "maybe"}, "`differences.metadata` is 'maybe': Input should be a valid boolean"),
        ({"statuses": {"paused": "ended"}}, "`differences.statuses` of 'paused' is 'ended'; write one of running, can"),
        ({"statuses": {"completed": "running"}}, "of 'completed' is 'running'; 'completed' is OpenAI's own status"),
        ({"max_requests": 0}, "`differences.max_requests` is 0: Input should be greater than or equal to 1"),
        ({"max_bytes": True}, "`differences.max_bytes` is True: Input should be a valid integer"),
        (
            {"max_request_bytes": 300_000_000},
            "`differences.max_request_bytes` is 300000000, and a whole batch may have 20",
        ),
        ({"results_kept_days": 1.5}, "`differences.results_kept_days` is 1.5: "),
        ({"structured_output": "strict"}, "`differences.structured_output` is 'strict'; write json_schema, json_obj"),
        ({"chat_limit_param": "tokens"}, "`differences.chat_limit_param` is 'tokens'; write max_completion_tokens or"),
        ({"queue_full_codes": [""]}, "`differences.queue_full_codes` is ''; write an error's code"),
        ({"console_url": "https://a/{id}"}, "`differences.console_url` is 'https://a/{id}'; write an address, `{}`"),
        ({"max_request": 5}, "`differences` has no field 'max_request'; it has chat_limit_param, "),
        ([], "`differences` is no mapping; its fields are chat_limit_param, "),
    ],
)
def test_a_host_that_cannot_be_is_refused_in_one_line(differences: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        OpenAICompatibleProvider(dialect="gateway", base_url="http://localhost", differences=differences)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)


def test_an_endpoint_that_the_host_has_not_is_refused() -> None:
    provider = OpenAICompatibleProvider(dialect="groq", api_key="k")
    with pytest.raises(ConfigError, match="Groq takes `chat` in batches"):
        provider.check(Request(model="m", endpoint="embeddings"))


@pytest.mark.parametrize("form", ["json_schema", "json_object", "none"])
def test_forms_of_structured_output(form: Any) -> None:
    schema = OutputSchema.of(Intent)
    dialect = replace(GATEWAY, structured_output=form, chat_limit_param="max_tokens")
    provider = OpenAICompatibleProvider(dialect=dialect, base_url="http://localhost")
    request = Request(
        model="m", system="Be kind.", json_schema=schema.json_schema, schema_name=schema.name, max_output_tokens=9
    )
    content = orjson.dumps("a \u2028 b")
    (line,) = provider.envelope(request).lines(["i" * 63], [content])
    assert len(line) == provider.envelope(request).overhead_bytes + len(content)
    body = orjson.loads(line)["body"]
    TypeAdapter(CompletionCreateParamsNonStreaming).validate_python(body)
    assert body["max_tokens"] == 9
    told = json.dumps(schema.json_schema, separators=(",", ":")) in body["messages"][0]["content"]
    assert told == (form != "json_schema")
    assert body["messages"][0]["content"].startswith("Be kind.")
    assert body.get("response_format", {}).get("type") == (None if form == "none" else form)


# ---------------------------------------------------------------- nights


def test_a_host_without_metadata_is_settled_by_the_input_file(emulator: Emulator, tmp_path: Path) -> None:
    dialect = replace(GATEWAY, metadata=False)
    provider = OpenAICompatibleProvider(dialect=dialect, base_url=host_url(emulator), max_retries=0)
    nights = Nights(tmp_path, provider)
    nights.night(spec_of("m", str, asset="before"), messages(2))  # somebody else's batch
    emulator.arm("accept_then_drop", operation="batches.create")
    landing, table = nights.night(spec_of("m", str), messages(6))
    assert landing.outcomes == {"succeeded": 6}
    assert emulator.bill()["openai"]["requests"] == 8
    assert len(list(provider.batches())) == 2
    assert [batch.stamp for batch in provider.batches()] == [None, None]
    assert (landing.cost_usd, landing.rate_source) == (None, "unknown")
    assert len(set(table["batch_id"].to_pylist())) == 1


@pytest.mark.parametrize("form", ["json_object", "none"])
def test_a_schema_that_is_told_gives_typed_columns(emulator: Emulator, tmp_path: Path, form: Any) -> None:
    dialect = replace(GATEWAY, structured_output=form)
    provider = OpenAICompatibleProvider(dialect=dialect, base_url=host_url(emulator), max_retries=0)
    landing, table = Nights(tmp_path, provider).night(spec_of("m", max_attempts=1), messages(2))
    assert landing.outcomes == {"succeeded": 2}
    assert set(table["urgency"].to_pylist()) <= {1, 2, 3, 4, 5}


def test_openai_itself_is_one_of_them() -> None:
    provider = OpenAIProvider(api_key="k")
    assert (provider.vendor, provider.host, provider.limits.max_requests) == ("openai", None, 50_000)
    assert provider.console_url("batch_1") == "https://platform.openai.com/batches/batch_1"
