"""What refuses a whole batch at once, what makes one request an error, and what the others are answered."""

import json
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx2
import jsonschema_rs
import pytest
from anthropic import Anthropic
from anthropic_lines import answer, error, raw_json, request, requests, results, run, text_of
from batch_lines import chat_lines, submit

from batch_assets.emulator import Emulator

HEADERS = {"anthropic-version": "2026-10-21", "authorization": "Bearer k", "content-type": "application/json"}


def post(emulator: Emulator, body: bytes | Iterator[bytes]) -> httpx2.Response:
    return httpx2.post(f"{emulator.url}/v1/messages/batches", headers=HEADERS, content=body)


def refused(emulator: Emulator, body: Any) -> str:
    answer = post(emulator, body if isinstance(body, bytes) else raw_json(body))
    said = answer.json()
    assert answer.status_code == 400, said
    assert said["error"]["type"] == "invalid_request_error"
    message: str = said["error"]["message"]
    return message


# -- the whole batch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("custom_id", "message"),
    [
        ("a b", "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        ("ü", "String should match pattern"),
        ("a\n", "String should match pattern"),
        ("", "String should match pattern"),
        ("x" * 65, "String should have at most 64 characters"),
        (7, "valid string"),
        (None, "valid string"),
    ],
)
def test_a_custom_id_that_breaks_the_pattern(emulator: Emulator, custom_id: Any, message: str) -> None:
    said = refused(emulator, {"requests": [request("fine"), request(custom_id), request("x" * 64)]})
    assert said.startswith("requests.1.custom_id: ")
    assert message in said
    assert emulator.bill() == {}


def test_a_custom_id_used_twice(emulator: Emulator, claude: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"requests\.2\.custom_id: .*unique"):
        claude.messages.batches.create(requests=[request("a"), request("b"), request("a"), request("c")])
    assert claude.messages.batches.list().data == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not valid JSON"),
        (b'{"requests":[', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{}}]', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{}}]} x', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{}},]}', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{"system":"\\ud800"}}]}', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{"x":NaN}}]}', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{"x":"\xff"}}]}', "not valid JSON"),
        (b'{"requests":[{"custom_id":"a","params":{}}],}', "not valid JSON"),
        (b"{}", "requests: Field required"),
        (b'{"requests":[]}', "at least 1 item"),
        (b'{"requests":[7]}', "requests.0: Input should be a valid dictionary"),
        (b'{"requests":[{"params":{}}]}', "requests.0.custom_id: Field required"),
        (b'{"requests":[{"custom_id":"a"}]}', "requests.0.params: Field required"),
        (b'{"requests":[{"custom_id":"a","params":3}]}', "requests.0.params"),
        (b'{"requests":[{"custom_id":"a","params":{},"url":"x"}]}', "requests.0.url: Extra inputs"),
        (b'{"metadata":{"a":1},"requests":[]}', "metadata: Extra inputs"),
    ],
)
def test_bodies_that_are_refused(emulator: Emulator, body: bytes, message: str) -> None:
    assert message in refused(emulator, body)


def test_exactly_the_limits_and_one_more(emulator: Emulator, claude: Anthropic) -> None:
    body = raw_json({"requests": requests(10)})
    emulator.set_limits("anthropic", max_requests=10, max_bytes=len(body))
    assert post(emulator, body).status_code == 200
    answer = post(emulator, body + b" ")
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")
    emulator.set_limits("anthropic", max_requests=9)
    assert "at most 9 items" in refused(emulator, body)
    assert len(claude.messages.batches.list().data) == 1
    with pytest.raises(anthropic.RequestTooLargeError):
        claude.messages.batches.create(requests=requests(11))


def test_a_full_queue(emulator: Emulator, claude: Anthropic) -> None:
    emulator.set_latency(1000)
    emulator.set_limits("anthropic", queued_requests=25)
    claude.messages.batches.create(requests=requests(20))
    with pytest.raises(anthropic.RateLimitError, match="processing queue"):
        claude.messages.batches.create(requests=requests(6))
    emulator.advance(1001)
    claude.messages.batches.create(requests=requests(25))


def test_chunked_bodies_with_any_spacing_and_any_text(emulator: Emulator, claude: Anthropic) -> None:
    texts = [
        'quote " and \\ backslash }]',
        "line\nbreak\r\n\u2028\u0085",
        "emoji 🙂 中文 العربية",
        "{[",
        "x" * 3_000_000,
    ]
    given = [request(f"row-{i}", text) for i, text in enumerate(texts)]
    pretty = json.dumps({"requests": given}, indent=4, ensure_ascii=False).replace("\n", "\r\n").encode()
    answer = post(emulator, (pretty[i : i + 7919] for i in range(0, len(pretty), 7919)))
    assert answer.status_code == 200, answer.text
    while not claude.messages.batches.retrieve(answer.json()["id"]).results_url:
        pass
    lines = {line.custom_id: line.result for line in claude.messages.batches.results(answer.json()["id"])}
    assert lines.keys() == {each["custom_id"] for each in given}
    emoji = lines["row-2"]
    assert emoji.type == "succeeded"
    assert "🙂 中文" in text_of(emoji.message)


def test_a_client_that_goes_away_in_the_middle_makes_no_batch(emulator: Emulator, claude: Anthropic) -> None:
    place = urlsplit(emulator.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(
            f"POST /v1/messages/batches HTTP/1.1\r\nhost: x\r\n{head}content-length: 999\r\n\r\n{{".encode()
        )
    assert claude.messages.batches.list().data == []


def test_a_large_create_is_not_held_in_memory(emulator: Emulator) -> None:
    emulator.set_latency(1000)
    text = "word " * 4000
    line = raw_json(request("ID", text))
    count = 2000  # 40 MB

    def body() -> Iterator[bytes]:
        yield b'{"requests":['
        for i in range(count):
            yield (b"," if i else b"") + line.replace(b"ID", f"row-{i}".encode())
        yield b"]}"

    tracemalloc.start()  # the emulator is a thread of this process
    answer = post(emulator, body())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 200
    assert answer.json()["request_counts"]["processing"] == count
    assert peak < 25_000_000


def test_several_creates_at_a_time(emulator: Emulator, claude: Anthropic) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(claude.messages.batches.create(requests=requests(50)).id))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 6
    assert {batch.id for batch in claude.messages.batches.list()} == set(made)


def test_the_providers_do_not_see_each_other(emulator: Emulator, claude: Anthropic, client: Any) -> None:
    batch = submit(client, chat_lines(1))
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(batch.id)
    claude.messages.batches.create(requests=requests(1))
    assert [each.id for each in client.batches.list()] == [batch.id]


# -- one request ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stream": True}, "stream"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": "5"}, "valid integer"),
        ({"model": None}, "model: Field required"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "non-whitespace"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty content"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "Input tag 'sound'"),
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"speed": "fast"}, "speed"),
        ({"store": True}, "store"),
        ({"cache_hint": "x"}, "cache_hint"),
        ({"n": 2}, "n: Extra inputs"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
        ({"output_config": {"effort": "extreme"}}, "effort"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]}, "cache_control"),
    ],
)
def test_params_are_checked_later_and_request_by_request(
    claude: Anthropic, emulator: Emulator, params: dict[str, Any], message: str
) -> None:
    kind, said = error(claude, **params)
    assert kind == "invalid_request_error"
    assert message in said
    bill = emulator.bill()["anthropic"]
    assert (bill["requests"], bill["errors"]) == (0, 1)


def test_an_unknown_model_is_an_error_of_the_request(claude: Anthropic, emulator: Emulator) -> None:
    assert error(claude, model="nonexistent-1") == ("not_found_error", "model: nonexistent-1")
    emulator.set_limits("anthropic", models=["claude-opus-5-5"])
    assert error(claude)[0] == "not_found_error"


def test_sampling_parameters_of_the_old_version(emulator: Emulator) -> None:
    old = {"anthropic-version": "2023-06-01"}
    with Anthropic(base_url=emulator.url, api_key="k", default_headers=old) as claude:
        assert answer(claude, temperature=0.5, top_p=0.9, top_k=5).stop_reason == "end_turn"
        assert "0 to 1" in error(claude, temperature=1.5)[1]


SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["card_arrival", "lost_card", "other"]},
        "urgency": {"type": "integer", "description": "1 to 5"},
        "score": {"type": "integer", "description": "How good.\n\n{minimum: 90, maximum: 95}"},
        "code": {"type": "string", "description": "{maxLength: 4, pattern: ^[A-Z]{2,4}$}"},
        "reason": {"type": "string"},
        "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "people": {"type": "array", "items": {"$ref": "#/$defs/Person"}, "minItems": 1},
    },
    "required": ["intent", "urgency", "score", "code", "reason", "when", "people"],
    "additionalProperties": False,
    "$defs": {
        "Person": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}


def structured(schema: dict[str, Any]) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


@pytest.mark.parametrize("text", ["I lost my card, help!", "Where is my card?", "", "7 of 9", "中文"])
def test_an_answer_fits_its_schema_and_the_bounds_in_its_descriptions(claude: Anthropic, text: str) -> None:
    message = answer(claude, f"Classify.\n\n{text}", **structured(SCHEMA), max_tokens=500)
    value = json.loads(text_of(message))
    jsonschema_rs.validate(SCHEMA, value)
    assert 90 <= value["score"] <= 95
    assert len(value["code"]) <= 4
    assert 1 <= value["urgency"] <= 5
    if "lost" in text:
        assert value["intent"] == "lost_card"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"type": "object", "properties": {}}, "additionalProperties"),
        ({"type": "integer", "minimum": 1}, "'minimum' is not supported"),
        ({"type": "string", "maxLength": 1}, "'maxLength' is not supported"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "minItems"),
        ({"type": "string", "format": "text"}, "format"),
        ({"enum": [{"a": 1}]}, "enum"),
        ({"description": "anything"}, "type"),
        ({"$ref": "#/$defs/Node"}, "recursive"),
        ({"$ref": "https://example.com/x"}, "reference"),
    ],
)
def test_schemas_that_structured_outputs_do_not_take(claude: Anthropic, node: dict[str, Any], message: str) -> None:
    recursive = {"type": "object", "properties": {"n": {"$ref": "#/$defs/Node"}}, "additionalProperties": False}
    schema = {
        "type": "object",
        "properties": {"a": node},
        "additionalProperties": False,
        "$defs": {"Node": recursive} if "$ref" in node else {},
    }
    kind, said = error(claude, **structured(schema))
    assert kind == "invalid_request_error"
    assert message in said


def test_max_tokens_and_stop_sequences(claude: Anthropic) -> None:
    text = "The quick brown fox jumps over the lazy dog and runs away. " * 3
    whole = answer(claude, text, max_tokens=1000)
    assert whole.stop_reason == "end_turn"
    short = answer(claude, text, max_tokens=5)
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 5)
    assert text_of(whole).startswith(text_of(short))
    stopped = answer(claude, text, stop_sequences=["zebra", " fox"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " fox")
    assert text_of(stopped).endswith("brown")


def test_the_same_request_has_the_same_answer(claude: Anthropic) -> None:
    one, two = (answer(claude, "Where is my card?", system="Be kind.") for _ in range(2))
    assert one.id != two.id
    assert one.content == two.content
    assert one.usage == two.usage


def test_cached_tokens_of_a_shared_prefix(claude: Anthropic) -> None:
    def system(ttl: str | None) -> list[dict[str, Any]]:
        control = {} if ttl is None else {"cache_control": {"type": "ephemeral", "ttl": ttl}}
        return [{"type": "text", "text": "word " * 3000, **control}]

    plain = answer(claude, system=system(None)).usage
    assert (plain.cache_read_input_tokens, plain.cache_creation_input_tokens) == (0, 0)
    for ttl in ("5m", "1h"):
        given = [request(f"row-{i}", f"text {i}", system=system(ttl)) for i in range(100)]
        usages = [line.result.message.usage for line in run(claude, *given).values() if line.result.type == "succeeded"]
        readers = [usage for usage in usages if usage.cache_read_input_tokens]
        writers = [usage for usage in usages if usage.cache_creation_input_tokens]
        assert len(readers) + len(writers) == 100
        assert len(readers) > 60
        assert writers
        for usage in usages:
            read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
            assert read + written > 3000
            assert abs(usage.input_tokens + read + written - plain.input_tokens) < 5
            assert usage.cache_creation is not None
            hour, minutes = (
                usage.cache_creation.ephemeral_1h_input_tokens,
                usage.cache_creation.ephemeral_5m_input_tokens,
            )
            assert (hour, minutes) == ((written, 0) if ttl == "1h" else (0, written))
    short = [{"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}]
    assert answer(claude, system=short).usage.cache_read_input_tokens == 0
    everything = answer(claude, "word " * 3000, cache_control={"type": "ephemeral"}).usage
    assert (everything.cache_read_input_tokens or 0) + (everything.cache_creation_input_tokens or 0) > 3000


def test_images_documents_and_earlier_turns(claude: Anthropic) -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    messages = [
        {"role": "user", "content": [picture, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Are you sure about the whiskers?"},
    ]
    message = answer(claude, messages=messages)
    assert "whiskers" in text_of(message)
    assert message.usage.input_tokens > 1500


def test_the_bill_knows_requests_that_were_sent_twice(claude: Anthropic, emulator: Emulator) -> None:
    for _ in range(2):
        batch = claude.messages.batches.create(requests=requests(10))
        while not claude.messages.batches.retrieve(batch.id).results_url:
            pass
        assert len(results(claude, batch)) == 10
    bill = emulator.bill()["anthropic"]
    assert (bill["requests"], bill["distinct"], bill["duplicates"], bill["surplus"]) == (20, 10, 10, 10)
