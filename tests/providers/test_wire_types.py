"""Every line of a request file, and every field that the emulator answers, against the SDKs' own types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import google.genai.types as gemini
import mistralai.client.models as mistral
import openai.types
import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from sdk_types import complaints
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from wire_shapes import numbered
from wires import WIRES, Wire

from batch_assets.emulator import Emulator
from batch_assets.errors import ProviderError
from batch_assets.parts import PartsForm
from batch_assets.provider_contract.contract import SCHEMA, Bench, texts
from batch_assets.provider_contract.media import every_part
from batch_assets.records import Request

TEXT = 'Grüße \u2028 "quoted" 🌍\n'

every_wire = pytest.mark.parametrize("name", WIRES)


# ---------------------------------------------------------------- what passes


@dataclass
class Exchange:
    """One call and its answer."""

    call: str
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


EXCHANGES: list[Exchange] = []


def recording(application: ASGIApp) -> ASGIApp:
    """Keeps what the application answers."""

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        path = re.sub("^/(?:mistral|gemini|vertex)(?=/)", "", scope["path"])  # bases that others' paths would meet
        exchange = Exchange(f"{scope['method']} {path}")

        async def passing(message: Message) -> None:
            exchange.status = message.get("status", exchange.status)
            exchange.body += message.get("body", b"")
            await send(message)

        await application(scope, receive, passing)
        if not scope["path"].startswith("/_emulator/"):
            EXCHANGES.append(exchange)

    return record


@pytest.fixture(scope="module")
def recorded() -> Iterator[Emulator]:
    with Emulator(latency_seconds=0, around=recording) as emulator:
        yield emulator


@pytest.fixture
def bench(recorded: Emulator, name: str) -> Bench:
    recorded.reset()
    EXCHANGES.clear()
    wire = WIRES[name]
    return Bench(provider=wire.provide(recorded), emulator=recorded, model=wire.model, emulated=name.partition(",")[0])


# ---------------------------------------------------------------- the tests


@every_wire
def test_every_line_of_a_request_file_is_of_the_types_of_the_sdk(bench: Bench, name: str) -> None:
    wire, checked = WIRES[name], 0
    for request in requests_of(bench, wire):
        bench.provider.check(request)
        envelope = bench.provider.envelope(request)
        contents = [orjson.dumps(TEXT)]
        if envelope.parts is not None:
            contents += media_contents(envelope.parts)
        for written in envelope.lines([f"abcdefghij-{number:052}" for number in range(len(contents))], contents):
            line = orjson.loads(written)
            assert complaints(line, wire.line) == []
            for body, kind in wire.bodies(line):
                assert complaints(body, kind) == []
            checked += 1
    assert checked >= 15


def requests_of(bench: Bench, wire: Wire) -> Iterator[Request]:
    for endpoint in wire.endpoints:
        if endpoint == "embeddings":
            yield Request(model="m", endpoint="embeddings")
            yield Request(model="m", endpoint="embeddings", params=dict(wire.params[endpoint]))
            continue
        given: dict[str, Any] = {"endpoint": endpoint, "max_output_tokens": 100}
        yield bench.request(**given)
        yield bench.request(**given, system="Be kind.", json_schema=SCHEMA)
        yield bench.request(**given, json_schema=SCHEMA, params=dict(wire.params.get(endpoint, {})))


def media_contents(form: PartsForm) -> list[bytes]:
    return [form.content(parts)[0] for parts in every_part(form)]


@every_wire
def test_every_field_that_the_emulator_answers_is_of_the_types_of_the_sdk(bench: Bench, name: str) -> None:
    wire = WIRES[name]
    live(bench, wire)
    used: set[str] = set()
    found: list[str] = []
    for exchange in EXCHANGES:
        rule = next((rule for rule in wire.rules if re.fullmatch(rule.call, exchange.call)), None)
        if re.match(wire.ignored, exchange.call) and (rule is None or exchange.status >= 400):
            continue
        if exchange.status >= 400:
            error, at = orjson.loads(exchange.body), f"{exchange.call} {exchange.status}"
            found += min((complaints(error, kind, at) for kind in wire.errors), key=len)
            continue
        assert rule is not None, exchange.call
        used.add(rule.call)
        for each in exchange.body.splitlines() if rule.lines else [exchange.body]:
            found += complaints(numbered(orjson.loads(each)), rule.kind, exchange.call)
    assert found == [], "\n".join(found)
    assert used == {rule.call for rule in wire.rules}


def live(bench: Bench, wire: Wire) -> None:
    """Everything that happens to batches, and every error."""
    provider, arm = bench.provider, bench.emulator.arm
    for word in ("refusal", "content_filter", "length", "invalid_json"):
        arm(word, contains=f"<{word}>")
    for status in (400, 429, 500):
        arm("request_error", contains=f"<{status}>", status=status)
    given = [
        f"<{word}> where is it?" for word in ("refusal", "content_filter", "length", "invalid_json", 400, 429, 500)
    ]
    for endpoint in wire.endpoints:
        request = bench.request(endpoint=endpoint)
        if endpoint == "embeddings":
            request = Request(model="mistral-embed", endpoint="embeddings")
        bench.run([*given, f"a {endpoint}"], request)
    bench.run(texts(3), bench.request(json_schema=SCHEMA))
    arm("expired", fraction=0.5)
    bench.results(bench.ended(bench.send(texts(4))))
    arm("canceled", fraction=0.5)
    bench.results(bench.ended(bench.send(texts(4))))
    for fault in ("validation_failed", "token_limit_exceeded"):
        arm(fault)
        bench.ended(bench.send(texts(2)))
    bench.emulator.set_latency(1000)
    running = bench.send(texts(4))
    for seconds in (0, 100, 400):
        bench.emulator.advance(seconds)
        provider.batch(running)
    bench.listed()
    list(provider.input_files())
    provider.cancel(running)
    provider.batch(running)
    bench.emulator.advance(600)
    ended = bench.ended(running)
    bench.results(ended)
    if provider.limits.input_files:
        provider.delete_input(provider.upload("a.jsonl", iter(bench.lines(texts(1)))) or "")
    calls: dict[str, Callable[[], object]] = {
        "batches.create": lambda: bench.send(texts(1)),
        "batches.retrieve": lambda: provider.batch(running),
        "batches.list": bench.listed,
        "batches.cancel": lambda: provider.cancel(running),
        "files.create": lambda: provider.upload("a.jsonl", iter(bench.lines(texts(1)))),
        "files.list": lambda: list(provider.input_files()),
        "files.content": lambda: bench.results(ended),
    }
    for operation, call in calls.items():
        for status in (400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 503, 529):
            arm("refused", operation=operation, status=status)
            with suppress(ProviderError):
                call()
    for call in wire.direct:
        call(bench.emulator)
    bench.emulator.set_latency(0)
    bench.emulator.set_limits(bench.emulated, max_requests=2)
    assert bench.is_refused(texts(3))


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ({"id": 1, "object": "file", "deleted": True}, openai.types.FileDeleted, "id: 1 is no str"),
        ({"id": "a", "object": "files", "deleted": True}, openai.types.FileDeleted, "object: 'files' is none of"),
        ({"id": "a", "object": "file"}, openai.types.FileDeleted, "deleted: FileDeleted needs it"),
        ({"id": "a", "object": "file", "deleted": True, "x": 1}, openai.types.FileDeleted, "x: FileDeleted has no"),
        ({"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, None, "0.content.0.text: Chat"),
        ({"model": "m", "messages": [{"role": "user", "content": "a"}], "n": True}, None, "n: True is no int"),
        ({"parts": [{"inlineData": {"data": "?"}}]}, gemini.Content, "inlineData.data: '?' is no base64"),
        ({"model": "m", "messages": "a"}, mistral.ChatCompletionRequest, "messages: 'a' is no list"),
    ],
)
def test_the_checker_finds_what_does_not_fit(value: Any, kind: Any, words: str) -> None:
    found = complaints(value, kind or CompletionCreateParamsNonStreaming)
    assert any(words in each for each in found), found
