"""Mistral's adapter, through the official SDK, against the emulator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from mistralai.client.models import BatchRequest, ChatCompletionRequest, EmbeddingRequest
from provider_world import Intent, Nights, messages, spec_of

from batch_assets.emulator import Emulator
from batch_assets.errors import Ambiguous, Blocked, ConfigError, NotFound, QueueFull, Refused, Transient
from batch_assets.providers.mistral import STAMP, MistralProvider
from batch_assets.providers.protocol import Provider
from batch_assets.records import BatchPhase, Ending, Outcome, Request
from batch_assets.schema import OutputSchema

MODEL = "mistral-small-2603"
KEY = "sk-SECRET-0123456789"
STAMPED = "store/namespace/abcdefghij"


@pytest.fixture
def provider(emulator: Emulator) -> MistralProvider:
    return MistralProvider(api_key=KEY, server_url=emulator.mistral_server_url, max_retries=0)


def chat(**more: Any) -> Request:
    return Request(model=MODEL, **more)


def lines_of(provider: MistralProvider, request: Request, texts: list[str]) -> list[bytes]:
    ids = [f"{number:063}" for number in range(len(texts))]
    return list(provider.envelope(request).lines(ids, [orjson.dumps(text) for text in texts]))


def sent(provider: MistralProvider, count: int = 3, request: Request | None = None) -> str:
    """A batch of some requests."""
    request = request or chat()
    lines = lines_of(provider, request, [f"text {number}" for number in range(count)])
    return create(provider, provider.upload("in.jsonl", iter(lines)), request)


def create(provider: MistralProvider, input_file: str | None, request: Request | None = None) -> str:
    return provider.create(
        stamp=STAMPED, request=request or chat(), input_file=input_file, lines=lambda: iter(()), timeout_seconds=20
    )


# ---------------------------------------------------------------- requests


def test_it_is_a_provider(provider: MistralProvider) -> None:
    assert isinstance(provider, Provider)
    assert provider.account.startswith("mistral+127.0.0.1:")
    assert KEY not in repr(provider)


def test_the_account_is_the_vendor_the_host_and_the_workspace() -> None:
    assert MistralProvider(api_key="one").account == MistralProvider(api_key="two").account == "mistral"
    assert MistralProvider(workspace="nightly").account == "mistral+nightly"
    assert MistralProvider(server_url="https://eu.example:8443/x").account == "mistral+eu.example:8443"


def test_lines_are_what_the_sdk_would_send_and_have_the_size_that_is_planned_with(provider: MistralProvider) -> None:
    schema = OutputSchema.of(Intent)
    request = chat(
        system="Be brief.",
        json_schema=schema.json_schema,
        schema_name=schema.name,
        max_output_tokens=64,
        params={"temperature": 0.1, "random_seed": 7},
    )
    text = 'line\u2028one\nline two "quoted" \\ 🌍'
    (line,) = lines_of(provider, request, [text])
    assert len(line) == provider.envelope(request).overhead_bytes + len(orjson.dumps(text))
    read = BatchRequest.model_validate(orjson.loads(line), strict=True)
    assert read.custom_id is not None
    body = ChatCompletionRequest.model_validate({"model": MODEL, **read.body}, strict=True)
    assert [message.content for message in body.messages] == ["Be brief.", text]
    assert (body.max_tokens, body.temperature, body.random_seed) == (64, 0.1, 7)
    form = body.model_dump(by_alias=True)["response_format"]["json_schema"]
    assert (form["name"], form["strict"], form["schema"]) == (schema.name, True, schema.json_schema)


def test_lines_of_embeddings(provider: MistralProvider) -> None:
    (line,) = lines_of(provider, chat(endpoint="embeddings"), ["text"])
    read = BatchRequest.model_validate(orjson.loads(line), strict=True)
    assert EmbeddingRequest.model_validate({"model": MODEL, **read.body}, strict=True).inputs == "text"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (chat(endpoint="responses"), "`chat` or `embeddings`"),
        (chat(params={"stream": True}), "a batch has no stream"),
        (chat(params={"seed": 1}), "random_seed"),
        (chat(params={"max_tokens": 1}), "max_output_tokens"),
        (Request(model=""), "`model` is empty"),
        (chat(json_schema={"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}}), "'a'"),
    ],
)
def test_what_mistral_would_refuse_is_refused_before(
    provider: MistralProvider, request_: Request, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        provider.check(request_)


def test_without_a_key_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="MISTRAL_API_KEY"):
        MistralProvider().check_credentials()
    monkeypatch.setenv("MISTRAL_API_KEY", "key")
    MistralProvider().check_credentials()


def test_without_the_sdk_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mistralai.client", None)
    with pytest.raises(ConfigError, match=r'pip install "batch-assets\[mistral\]"'):
        MistralProvider(api_key="key").check_credentials()


# ---------------------------------------------------------------- batches


def test_a_batch_bears_the_stamp_and_its_file(provider: MistralProvider) -> None:
    assert provider.newest() is None
    input_file = provider.upload("in.jsonl", iter(lines_of(provider, chat(), ["a", "b"])))
    batch_id = create(provider, input_file)
    assert provider.newest() == batch_id
    batch = provider.batch(batch_id)
    assert (batch.stamp, batch.input_file, batch.phase, batch.ending) == (
        STAMPED,
        input_file,
        BatchPhase.ENDED,
        Ending.COMPLETED,
    )
    assert (batch.total, batch.completed, batch.failed) == (2, 2, 0)
    assert [provider.parse(line).outcome for line in provider.results(batch)] == [Outcome.SUCCEEDED] * 2
    assert input_file is not None
    provider.delete_input(input_file)
    provider.delete_input(input_file)  # gone already


def test_all_pages_are_listed_newest_first(provider: MistralProvider) -> None:
    input_file = provider.upload("in.jsonl", iter(lines_of(provider, chat(), ["a"])))
    made = [create(provider, input_file) for _ in range(103)]
    assert [batch.batch_id for batch in provider.batches()] == made[::-1]


def test_every_status(provider: MistralProvider, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch_id = sent(provider, 20)
    seen = [provider.batch(batch_id)]
    emulator.advance(500)
    seen.append(provider.batch(batch_id))
    provider.cancel(batch_id)
    seen.append(provider.batch(batch_id))
    emulator.advance(100)
    seen.append(provider.batch(batch_id))
    provider.cancel(batch_id)  # has ended: left alone
    assert [batch.raw_status for batch in seen] == ["QUEUED", "RUNNING", "CANCELLATION_REQUESTED", "CANCELLED"]
    phases = [BatchPhase.RUNNING, BatchPhase.RUNNING, BatchPhase.CANCELING, BatchPhase.ENDED]
    assert [batch.phase for batch in seen] == phases
    last = seen[-1]
    assert (last.ending, last.total) == (Ending.CANCELED, 20)
    assert len(list(provider.results(last))) == last.completed == emulator.bill()["mistral"]["requests"]


def test_a_job_that_times_out_keeps_what_it_finished(provider: MistralProvider, emulator: Emulator) -> None:
    emulator.arm("expired", fraction=0.5)
    batch = provider.batch(sent(provider, 10))
    assert (batch.raw_status, batch.ending) == ("TIMEOUT_EXCEEDED", Ending.EXPIRED)
    assert len(list(provider.results(batch))) == 5


def test_a_job_that_fails_says_why(provider: MistralProvider, emulator: Emulator) -> None:
    emulator.arm("validation_failed", message="the file is strange")
    batch = provider.batch(sent(provider))
    assert (batch.ending, batch.error_message, batch.result_files) == (Ending.FAILED, "the file is strange", ())


@pytest.mark.parametrize("errors_in_output", [False, True])
def test_error_lines_are_read_from_either_file(
    provider: MistralProvider, emulator: Emulator, errors_in_output: bool
) -> None:
    emulator.set_limits("mistral", errors_in_output=errors_in_output)
    emulator.arm("request_error", contains="text 1", status=400, code="3051", message="no such thing")
    emulator.arm("request_error", contains="text 2", status=500)
    batch = provider.batch(sent(provider, 4))
    assert len(batch.result_files) == (1 if errors_in_output else 2)
    results = {result.custom_id[-1]: result for result in map(provider.parse, provider.results(batch))}
    outcomes = [results[str(number)].outcome for number in range(4)]
    assert outcomes == [Outcome.SUCCEEDED, Outcome.ERRORED, Outcome.ERRORED, Outcome.SUCCEEDED]
    assert (results["1"].error, results["1"].curable) == ("no such thing", False)
    assert results["2"].curable


def test_one_of_two_files_gone_does_not_hide_the_other(provider: MistralProvider, emulator: Emulator) -> None:
    emulator.arm("request_error", contains="text 1", status=400, code="3051")
    batch = provider.batch(sent(provider, 3))
    output, errors = batch.result_files
    provider.delete_input(errors)
    assert len(list(provider.results(batch))) == 2
    provider.delete_input(output)
    with pytest.raises(NotFound):
        list(provider.results(batch))


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"custom_id":"a","response":null,"error":{"message":"boom","type":"server"}}', ("boom", "server", True)),
        (b'{"custom_id":"a","response":null,"error":"boom"}', ("boom", "error", True)),
        (b'{"custom_id":"a","response":{"status_code":429,"body":{"message":"slow"}}}', ("slow", "429", True)),
        (
            b'{"custom_id":"a","response":{"status_code":422,"body":{"detail":[{"loc":["body","n"],"msg":"bad"}]}}}',
            ("body.n: bad", "422", False),
        ),
        (b'{"custom_id":"a","response":{"status_code":400,"body":"text"}}', ("text", "400", False)),
    ],
)
def test_error_lines(provider: MistralProvider, line: bytes, expected: tuple[str, str, bool]) -> None:
    result = provider.parse(line)
    assert (result.error, result.error_kind, result.curable) == expected
    assert result.outcome is Outcome.ERRORED


def test_lines_that_cannot_be_read(provider: MistralProvider) -> None:
    assert provider.custom_id(b'{"custom_id":null,"error":"x"}') is None
    assert provider.custom_id(b'{"id"') is None
    for line in (b"{", b'{"custom_id":"a"}', b'{"custom_id":"a","response":{"status_code":200,"body":[]}}'):
        with pytest.raises(ValueError):
            provider.parse(line)


def test_what_a_reasoning_model_thinks_is_not_its_answer(provider: MistralProvider) -> None:
    body: dict[str, Any] = {
        "model": "magistral-medium",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                        {"type": "text", "text": "four"},
                    ],
                },
                "finish_reason": "model_length",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
    }
    result = provider.parse(orjson.dumps({"custom_id": "a", "response": {"status_code": 200, "body": body}}))
    assert (result.text, result.finish_reason, result.model) == ("four", "length", "magistral-medium")
    assert (result.input_tokens, result.output_tokens) == (9, 5)


# ---------------------------------------------------------------- create calls


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"fault": "refused", "status": 400}, Refused),
        ({"fault": "refused", "status": 422}, Refused),
        ({"fault": "refused", "status": 401}, Blocked),
        ({"fault": "refused", "status": 402}, Blocked),
        ({"fault": "refused", "status": 429, "retry_after": 7}, QueueFull),
        ({"fault": "refused", "status": 500}, Ambiguous),
        ({"fault": "refused", "status": 409}, Ambiguous),
        ({"fault": "proxy_error", "status": 404}, Ambiguous),
        ({"fault": "drop"}, Ambiguous),
        ({"fault": "accept_then_drop"}, Ambiguous),
        ({"fault": "accept_then_error"}, Ambiguous),
        ({"fault": "accept_then_proxy_error"}, Ambiguous),
    ],
)
def test_a_create_call_is_made_once_and_its_failure_classed(
    emulator: Emulator, fault: dict[str, Any], error: type[Exception]
) -> None:
    provider = MistralProvider(api_key=KEY, server_url=emulator.mistral_server_url, max_retries=3)
    input_file = provider.upload("in.jsonl", iter(lines_of(provider, chat(), ["a"])))
    name = fault.pop("fault")
    emulator.arm(name, operation="batches.create", **fault)
    with pytest.raises(error) as caught:
        create(provider, input_file)
    assert KEY not in str(caught.value)
    if error is QueueFull:
        assert isinstance(caught.value, QueueFull)
        assert caught.value.retry_after_seconds == 7
    (armed,) = emulator.faults()
    assert armed["seen"] == 1
    assert len(list(provider.batches())) == int(name.startswith("accept_then"))


def test_a_reply_that_does_not_come_is_ambiguous(provider: MistralProvider, emulator: Emulator) -> None:
    input_file = provider.upload("in.jsonl", iter(lines_of(provider, chat(), ["a"])))
    emulator.arm("accept_then_hang", operation="batches.create")
    with pytest.raises(Ambiguous):
        provider.create(
            stamp=STAMPED, request=chat(), input_file=input_file, lines=lambda: iter(()), timeout_seconds=0.3
        )
    assert [batch.stamp for batch in provider.batches()] == [STAMPED]


def test_a_model_that_does_not_exist_blocks_and_a_missing_file_refuses(provider: MistralProvider) -> None:
    input_file = provider.upload("in.jsonl", iter(lines_of(provider, chat(), ["a"])))
    with pytest.raises(Blocked, match="Invalid model"):
        create(provider, input_file, Request(model="nonexistent-1"))
    assert input_file is not None
    provider.delete_input(input_file)
    with pytest.raises(Refused, match="not found"):
        create(provider, input_file)


# ---------------------------------------------------------------- calls that may be repeated


def test_reading_calls_are_repeated_after_a_passing_failure(emulator: Emulator) -> None:
    provider = MistralProvider(api_key=KEY, server_url=emulator.mistral_server_url, max_retries=1)
    batch_id = sent(provider)
    emulator.arm("refused", operation="batches.list", status=503)
    assert provider.newest() == batch_id
    emulator.arm("drop", operation="batches.retrieve")
    assert provider.batch(batch_id).batch_id == batch_id
    emulator.arm("refused", operation="files.create", status=429, retry_after=0.01)
    assert sent(provider)


def test_failures_of_reading_calls_are_classed(provider: MistralProvider, emulator: Emulator) -> None:
    batch_id = sent(provider)
    for status, error in ((401, Blocked), (429, Transient), (500, Transient), (404, NotFound)):
        emulator.arm("refused", operation="batches.retrieve", status=status)
        with pytest.raises(error):
            provider.batch(batch_id)
    batch = provider.batch(batch_id)
    emulator.arm("cut", kind="output", after_bytes=150)
    with pytest.raises(Transient):
        list(provider.results(batch))
    wrong_key = MistralProvider(api_key="sk-invalid", server_url=emulator.mistral_server_url)
    with pytest.raises(Blocked, match="Unauthorized"):
        wrong_key.newest()


# ---------------------------------------------------------------- nights


def test_a_night(provider: MistralProvider, emulator: Emulator, tmp_path: Path) -> None:
    nights = Nights(tmp_path, provider)
    landing, table = nights.night(spec_of(MODEL, max_output_tokens=100), messages(50))
    assert landing.outcomes == {"succeeded": 50}
    assert table["id"].to_pylist() == messages(50)["id"].to_pylist()
    assert set(table["intent"].to_pylist()) <= {"card_arrival", "lost_card", "exchange_rate", "other"}
    assert table["batch_model"].to_pylist()[0] == MODEL
    assert landing.rate_source == "published"
    assert landing.cost_usd is not None
    assert landing.standard_usd is not None
    assert 0 < landing.cost_usd * 2 == landing.standard_usd
    assert emulator.bill()["mistral"]["requests"] == 50
    assert nights.night(spec_of(MODEL, max_output_tokens=100), messages(50))[0].path == landing.path
    assert emulator.bill()["mistral"]["requests"] == 50


def test_a_night_with_failures_retries_what_may_be_cured(
    provider: MistralProvider, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.arm("request_error", contains="Message 3:", status=500)
    emulator.arm("request_error", contains="Message 5:", status=400, code="3051", times=9)
    emulator.arm("expired", fraction=0.5)
    landing, table = Nights(tmp_path, provider).night(spec_of(MODEL), messages(12))
    assert landing.outcomes == {"succeeded": 11, "errored": 1}
    assert table["batch_outcome"].to_pylist()[5] == "errored"
    assert emulator.bill()["mistral"]["surplus"] == 0


def test_a_lost_reply_is_settled_by_looking(provider: MistralProvider, emulator: Emulator, tmp_path: Path) -> None:
    emulator.arm("accept_then_drop", operation="batches.create")
    landing, _ = Nights(tmp_path, provider).night(spec_of(MODEL, str), messages(5))
    assert landing.outcomes == {"succeeded": 5}
    assert emulator.bill()["mistral"]["requests"] == 5
    assert len(landing.batch_ids) == 1


def test_the_stamp_fits_mistrals_metadata(provider: MistralProvider, emulator: Emulator, tmp_path: Path) -> None:
    Nights(tmp_path, provider).night(spec_of(MODEL, str), messages(1))
    (batch,) = provider.batches()
    assert len(STAMP) <= 32
    assert batch.stamp is not None
    assert len(batch.stamp) <= 512
