"""What Anthropic's adapter has of its own, through the official SDK against the emulator."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import orjson
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from anthropic.types.messages.batch_create_params import Request as BatchRequest

from batch_assets.emulator import Emulator
from batch_assets.errors import Blocked, ConfigError, SchemaError
from batch_assets.provider_contract.contract import SCHEMA, Bench, texts
from batch_assets.providers.anthropic import LIMITS, AnthropicProvider
from batch_assets.records import Outcome, Request

MODEL = "claude-haiku-4-5"
PARAMS = {
    "thinking": {"type": "adaptive"},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["x"],
    "service_tier": "auto",
}
LONG = "word " * 2000


def provider_at(emulator: Emulator, **more: Any) -> AnthropicProvider:
    return AnthropicProvider(api_key="sk-test", base_url=emulator.anthropic_base_url, max_retries=0, **more)


def bench_of(provider: AnthropicProvider, emulator: Emulator) -> Bench:
    return Bench(provider=provider, emulator=emulator, model=MODEL, emulated="anthropic")


@pytest.fixture
def provider(emulator: Emulator) -> AnthropicProvider:
    return provider_at(emulator)


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("prompt_caching", [False, True])
@pytest.mark.parametrize(
    "more", [{}, {"system": "Be kind."}, {"system": LONG, "json_schema": SCHEMA, "params": PARAMS}]
)
def test_lines_are_what_the_types_of_the_sdk_say(
    emulator: Emulator, more: dict[str, Any], prompt_caching: bool
) -> None:
    bench = bench_of(provider_at(emulator, prompt_caching=prompt_caching), emulator)
    request = bench.request(**more)
    params_type = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
    for text, line in zip(texts(3), bench.lines(texts(3), request), strict=True):
        given = orjson.loads(line)
        assert given.keys() == BatchRequest.__annotations__.keys()
        assert given["params"].keys() <= _keys_of(MessageCreateParamsNonStreaming)
        read = _eager(params_type.validate_json(orjson.dumps(given["params"]), strict=True), given["params"])
        assert read == given["params"]
        assert read["messages"] == [{"role": "user", "content": text}]
    assert {result.outcome for result in bench.run(texts(3), request)} == {Outcome.SUCCEEDED}


def _keys_of(kind: Any) -> set[str]:
    return {key for base in (kind, *kind.__orig_bases__) for key in getattr(base, "__annotations__", {})}


def _eager(read: Any, given: Any) -> Any:
    """`read` with the iterators that pydantic makes of Iterable as lists: only that validates their items.

    Of a text where the type says text or Iterable it makes an iterator, too: that is the text.
    """
    if isinstance(given, dict):
        assert read.keys() == given.keys()
        return {key: _eager(read[key], each) for key, each in given.items()}
    if isinstance(given, list):
        items = list(read)
        assert len(items) == len(given)
        return [_eager(*each) for each in zip(items, given, strict=True)]
    return given if isinstance(given, str) else read


def test_a_create_call_holds_nothing_in_memory(provider: AnthropicProvider, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    request = Request(model=MODEL, max_output_tokens=5)
    envelope, content, count = provider.envelope(request), orjson.dumps(LONG), 3000  # 30 MB
    provider.newest()

    def lines() -> Iterator[bytes]:
        return envelope.lines((f"abcdefghij-{i:052}" for i in range(count)), (content for _ in range(count)))

    tracemalloc.start()  # the emulator is in this process, too
    batch_id = provider.create(stamp="", request=request, input_file=None, lines=lines, timeout_seconds=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert provider.batch(batch_id).total == count
    assert peak < 15_000_000


def test_lines_that_cannot_be_read_on_the_way_make_no_batch(provider: AnthropicProvider) -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"custom_id":"a","params":{}}\n'
        raise OSError("the store is gone")

    with pytest.raises(Exception, match="Connection error"):
        provider.create(stamp="", request=Request(model=MODEL), input_file=None, lines=lines, timeout_seconds=20)
    assert list(provider.batches()) == []


def test_the_body_fits_where_the_lines_do() -> None:
    assert LIMITS.max_bytes + len('{"requests":[]}') == 256_000_000
    assert not LIMITS.stamped
    assert not LIMITS.input_files


def test_what_anthropic_refuses_is_refused_before(provider: AnthropicProvider) -> None:
    for request, words in (
        (Request(model=MODEL, endpoint="embeddings", max_output_tokens=5), "`chat` only"),
        (Request(model=MODEL), "`max_output_tokens` is not set"),
        (Request(model=MODEL, max_output_tokens=5, params={"system": "x"}), "set `system`"),
    ):
        with pytest.raises(ConfigError, match=words):
            provider.check(request)


@pytest.mark.parametrize("param", ["temperature", "top_p", "top_k"])
def test_sampling_is_refused_by_the_api_version_of_sdk_2_alone(provider: AnthropicProvider, param: str) -> None:
    request = Request(model=MODEL, max_output_tokens=5, params={param: 1})
    if int(anthropic.__version__.split(".")[0]) < 2:  # it speaks 2023-06-01, which takes them
        assert provider.check(request) is None  # type: ignore[func-returns-value]
        return
    with pytest.raises(ConfigError, match=f"'{param}', which the API version 2026-10-21"):
        provider.check(request)


def test_sixteen_unions_and_one_more(provider: AnthropicProvider, emulator: Emulator) -> None:
    def request(count: int) -> Request:
        optional = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        names = [f"field_{i}" for i in range(count)]
        schema = {"type": "object", "properties": dict.fromkeys(names, optional), "required": names}
        return Request(model=MODEL, max_output_tokens=500, json_schema={**schema, "additionalProperties": False})

    provider.check(request(16))
    with pytest.raises(SchemaError, match="17 optional fields or unions; Anthropic takes 16"):
        provider.check(request(17))
    bench = bench_of(provider, emulator)
    (fine,) = bench.run(["text"], request(16))
    assert fine.outcome is Outcome.SUCCEEDED
    (wrong,) = bench.run(["text"], request(17))
    assert "union types" in (wrong.error or "")


# ---------------------------------------------------------------- accounts


def test_workspaces_are_accounts(emulator: Emulator) -> None:
    one, two = (provider_at(emulator, workspace=f"wrkspc_{name}") for name in ("one", "two"))
    assert one.account != two.account
    assert one.account.endswith("+wrkspc_one")
    batch_id = bench_of(one, emulator).send(texts(1))
    assert one.newest() == batch_id
    assert two.newest() is None
    assert "wrkspc_one" in str(one.console_url(batch_id))
    assert provider_at(emulator, workspace="team").newest() is None


def test_the_account_names_the_host_only_where_it_is_not_anthropics_own(emulator: Emulator) -> None:
    assert AnthropicProvider(api_key="k", base_url="https://api.anthropic.com").account == "anthropic"
    assert provider_at(emulator).account == f"anthropic+{emulator.url.removeprefix('http://')}"


def test_a_spend_limit_tells_its_cause(provider: AnthropicProvider, emulator: Emulator) -> None:
    words = "You have reached your limit for November."
    emulator.arm("refused", operation="batches.create", status=429, code="enforced_spend_limit_reached", message=words)
    with pytest.raises(Blocked, match=words) as caught:
        bench_of(provider, emulator).send(texts(1))
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_error")


# ---------------------------------------------------------------- results


def test_a_cached_prefix_is_counted_and_costs_less(emulator: Emulator) -> None:
    found = {}
    for prompt_caching in (False, True):
        bench = bench_of(provider_at(emulator, prompt_caching=prompt_caching), emulator)
        found[prompt_caching] = bench.run(texts(60), bench.request(system=LONG))
    for plain, cached in zip(found[False], found[True], strict=True):
        assert (plain.cached_tokens, plain.cache_write_tokens) == (0, 0)
        assert cached.input_tokens == plain.input_tokens
        assert cached.cache_write_1h_tokens == cached.cache_write_tokens
        assert cached.cached_tokens + cached.cache_write_tokens > 2000
        assert 0 in (cached.cached_tokens, cached.cache_write_tokens)
    assert sum(bool(result.cached_tokens) for result in found[True]) > 40


def test_errors_of_single_requests(provider: AnthropicProvider, emulator: Emulator) -> None:
    bench = bench_of(provider, emulator)
    (unknown,) = bench.run(["text"], bench.request(model="nonexistent-1"))
    assert (unknown.outcome, unknown.error_kind, unknown.curable) == (Outcome.ERRORED, "not_found_error", False)
    emulator.arm("request_error", status=529)
    (busy,) = bench.run(["text"])
    assert (busy.outcome, busy.error_kind, busy.curable) == (Outcome.ERRORED, "overloaded_error", True)


def line(result: dict[str, Any]) -> bytes:
    return orjson.dumps({"custom_id": "a", "result": result})


def message(content: list[dict[str, Any]], stop_reason: str, **usage: Any) -> bytes:
    return line(
        {
            "type": "succeeded",
            "message": {
                "model": MODEL,
                "content": content,
                "stop_reason": stop_reason,
                "usage": {"input_tokens": 3, "output_tokens": 5, **usage},
            },
        }
    )


def test_messages_of_several_parts(provider: AnthropicProvider) -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    result = provider.parse(message(parts, "end_turn", cache_read_input_tokens=7, cache_creation_input_tokens=None))
    assert (result.text, result.finish_reason) == ("one two", "stop")
    assert (result.input_tokens, result.cached_tokens, result.output_tokens) == (10, 7, 5)


@pytest.mark.parametrize(
    ("stop_reason", "kind", "curable"),
    [("end_turn", "no_text", True), ("max_tokens", "no_text", False), ("refusal", "refusal", False)],
)
def test_messages_without_text(provider: AnthropicProvider, stop_reason: str, kind: str, curable: bool) -> None:
    result = provider.parse(message([], stop_reason))
    assert (result.outcome, result.error_kind, result.curable) == (Outcome.ERRORED, kind, curable)
    assert result.output_tokens == 5


@pytest.mark.parametrize("result", [{"type": "paused"}, {"type": "succeeded"}, {"type": "errored"}, {}])
def test_results_of_a_type_that_is_not_known(provider: AnthropicProvider, result: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        provider.parse(line(result))
    assert provider.custom_id(line(result)) == "a"


def test_results_that_the_provider_has_deleted(provider: AnthropicProvider, emulator: Emulator) -> None:
    bench = bench_of(provider, emulator)
    batch_id = bench.ended(bench.send(texts(2))).batch_id
    emulator.advance(30 * 86_400)
    batch = provider.batch(batch_id)
    assert batch.result_files == ()
    assert list(provider.results(batch)) == []
    assert provider.assumed_batch_discount == Decimal("0.5")
