"""Single requests: what is answered, what is refused, and every field against the SDK's own types."""

import base64
import json
import struct
from typing import Any

import pytest
from batch_lines import CHAT, EMBEDDINGS, RESPONSES, chat_line, content, ended, line, results, submit
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import Batch, CreateEmbeddingResponse, FileObject
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from batch_assets.emulator import Emulator

TEXT = "I lost my card yesterday and need to block it immediately! " * 3
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["lost_card", "refund", "other"]}, "why": {"type": "string"}},
    "required": ["label", "why"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "label", "strict": True, "schema": SCHEMA}}


def strictly(kind: Any, raw: dict[str, Any]) -> Any:
    """`raw` against the SDK's type: no coercion, no field that the type does not know."""
    assert raw.keys() <= kind.model_fields.keys(), raw.keys() - kind.model_fields.keys()
    return kind.model_validate_json(json.dumps(raw), strict=True)


def answer(client: OpenAI, url: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The only result line of a batch of one request."""
    batch = ended(client, submit(client, [line("only", url, **body)], endpoint=url))
    assert batch.status == "completed", batch
    found = results(client, batch.output_file_id or batch.error_file_id)
    assert len(found) == 1
    assert found[0]["error"] is None
    assert found[0].keys() == {"id", "custom_id", "response", "error"}
    assert found[0]["response"].keys() == {"status_code", "request_id", "body"}
    return dict(found[0]["response"])


def test_objects_fit_the_sdk_types(client: OpenAI) -> None:
    batch = submit(client, [chat_line("a"), chat_line("b", stream=True)])
    batch = ended(client, batch)
    failed = ended(client, submit(client, b"{"))
    for each in (batch, failed):
        raw = json.loads(client.batches.with_raw_response.retrieve(each.id).text)
        strictly(Batch, raw)
        assert Batch.model_fields.keys() == raw.keys()
    for file_id in (batch.input_file_id, batch.output_file_id, batch.error_file_id):
        assert file_id is not None
        raw = json.loads(client.files.with_raw_response.retrieve(file_id).text)
        strictly(FileObject, raw)
        assert FileObject.model_fields.keys() == raw.keys()
        assert raw["bytes"] == len(client.files.content(file_id).content)


def test_chat_completion(client: OpenAI) -> None:
    reply = answer(client, CHAT, chat_line("a", TEXT, response_format=FORMAT, max_completion_tokens=200)["body"])
    assert reply["status_code"] == 200
    completion = strictly(ChatCompletion, reply["body"])
    assert completion.model == "gpt-5-mini"
    assert completion.choices[0].finish_reason == "stop"
    said = json.loads(completion.choices[0].message.content)
    assert said["label"] == "lost_card"
    assert "card" in said["why"]
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_responses(client: OpenAI) -> None:
    text = {"format": {"type": "json_schema", "name": "label", "strict": True, "schema": SCHEMA}}
    body = {"model": "gpt-5-mini", "instructions": "Label it.", "text": text, "max_output_tokens": 300}
    for given in (TEXT, [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}]):
        reply = answer(client, RESPONSES, {**body, "input": given})
        response = strictly(Response, reply["body"])
        assert response.status == "completed"
        assert json.loads(response.output_text)["label"] == "lost_card"
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_embeddings(client: OpenAI) -> None:
    body = {"model": "text-embedding-3-small", "input": ["lost my card", "my card is lost", "weather in Oslo"]}
    reply = strictly(CreateEmbeddingResponse, answer(client, EMBEDDINGS, body)["body"])
    first, second, third = (each.embedding for each in reply.data)
    assert len(first) == 1536
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-4)
    near, far = (sum(x * y for x, y in zip(first, other, strict=True)) for other in (second, third))
    assert near > 0.8
    assert far < 0.3
    encoded = answer(client, EMBEDDINGS, {**body, "dimensions": 64, "encoding_format": "base64", "input": "a b"})
    assert len(struct.unpack("<64f", base64.b64decode(encoded["body"]["data"][0]["embedding"]))) == 64


@pytest.mark.parametrize(
    ("limit", "finish"), [({"max_completion_tokens": 5}, "length"), ({"max_completion_tokens": 500}, "stop")]
)
def test_output_limit_of_chat(client: OpenAI, limit: dict[str, Any], finish: str) -> None:
    body = answer(client, CHAT, chat_line("a", TEXT, **limit)["body"])["body"]
    assert body["choices"][0]["finish_reason"] == finish
    assert body["usage"]["completion_tokens"] <= next(iter(limit.values()))


def test_output_limit_of_responses(client: OpenAI) -> None:
    body = answer(client, RESPONSES, {"model": "gpt-5-mini", "input": TEXT * 3, "max_output_tokens": 16})["body"]
    response = strictly(Response, body)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.output_tokens == 16


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"stream": True}, "stream", "invalid_value"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "bad name", "schema": SCHEMA}}},
            "response_format.json_schema.name",
            "invalid_value",
        ),
    ],
)
def test_a_bad_request_is_an_error_line_and_not_billed(
    client: OpenAI, emulator: Emulator, change: dict[str, Any], param: str, code: str
) -> None:
    bad = chat_line("bad")
    bad["body"] = {key: value for key, value in {**bad["body"], **change}.items() if value is not None}
    batch = ended(client, submit(client, [chat_line("good"), bad]))
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    assert [each["custom_id"] for each in results(client, batch.output_file_id)] == ["good"]
    (error,) = results(client, batch.error_file_id)
    assert error["custom_id"] == "bad"
    assert error["error"] is None
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"]["param"] == param
    assert error["response"]["body"]["error"]["code"] == code
    assert emulator.bill()["openai"]["requests"] == 1
    assert emulator.bill()["openai"]["errors"] == 1


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array", "items": {"type": "string"}}, 'type: "object"'),
        ({"type": "object", "properties": {}}, "additionalProperties"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
            "Missing 'a'",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string", "default": "x"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "'default' is not permitted",
        ),
    ],
)
def test_a_schema_outside_strict_mode_is_refused(client: OpenAI, schema: dict[str, Any], words: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    reply = answer(client, CHAT, chat_line("a", response_format=form)["body"])
    assert reply["status_code"] == 400
    assert words in reply["body"]["error"]["message"]


def test_json_mode_and_choices(client: OpenAI) -> None:
    body = chat_line("a", TEXT, response_format={"type": "json_object"}, n=2)["body"]
    completion = strictly(ChatCompletion, answer(client, CHAT, body)["body"])
    assert len(completion.choices) == 2
    assert isinstance(json.loads(completion.choices[1].message.content), dict)


@pytest.mark.parametrize("form", [{}, {"response_format": {"type": "json_object"}}])
def test_a_schema_that_is_told_in_the_system_text_is_kept_to(client: OpenAI, form: dict[str, Any]) -> None:
    told = 'Examples: {"a": 1}, {"b. Keep to this: {"type":"object","properties":{"urgent":{"type":"boolean"}}}'
    body = chat_line("a", TEXT, **form)["body"]
    body["messages"].insert(0, {"role": "system", "content": told})
    completion = strictly(ChatCompletion, answer(client, CHAT, body)["body"])
    value = json.loads(completion.choices[0].message.content)
    assert value.keys() == {"urgent"}
    assert isinstance(value["urgent"], bool)


def test_a_schema_in_the_system_text_that_cannot_be_followed_is_text(client: OpenAI) -> None:
    body = chat_line("a", TEXT)["body"]
    told = {"role": "system", "content": '{"type":"object","properties":{"a":{"$ref":"#/$defs/none"}}}'}
    plain = answer(client, CHAT, body)["body"]["choices"]
    body["messages"].insert(0, told)
    assert answer(client, CHAT, body)["body"]["choices"] == plain


def test_images_and_files_cost_tokens(client: OpenAI) -> None:
    parts = [{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    with_image = chat_line("a")["body"] | {"messages": [{"role": "user", "content": parts}]}
    without = chat_line("a", TEXT)["body"]
    used = [answer(client, CHAT, body)["body"]["usage"]["prompt_tokens"] for body in (with_image, without)]
    assert used[0] > used[1] + 500


def test_long_common_prefixes_are_cached(client: OpenAI) -> None:
    instructions = {"role": "system", "content": "Follow these rules closely. " * 400}
    body = chat_line("a", TEXT)["body"]
    body["messages"].insert(0, instructions)
    usage = answer(client, CHAT, body)["body"]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 1024
    assert usage["prompt_tokens_details"]["cached_tokens"] % 128 == 0
    assert usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_without_a_batch(client: OpenAI, emulator: Emulator) -> None:
    completion = client.chat.completions.create(**chat_line("", TEXT, response_format=FORMAT)["body"])
    assert json.loads(completion.choices[0].message.content or "")["label"] == "lost_card"
    assert client.responses.create(model="gpt-5-mini", input=TEXT).output_text
    assert len(client.embeddings.create(model="text-embedding-3-large", input=TEXT).data[0].embedding) == 3072
    with pytest.raises(BadRequestError):
        client.chat.completions.create(model="gpt-5-mini", messages=[])
    with pytest.raises(NotFoundError):
        client.chat.completions.create(model="nonexistent", messages=[{"role": "user", "content": "x"}])
    bill = emulator.bill()["openai"]
    assert (bill["requests"], bill["errors"]) == (3, 1)


def test_the_same_request_gets_the_same_answer(client: OpenAI, emulator: Emulator) -> None:
    lines = [chat_line(f"r{i}", f"{TEXT} {i}", response_format=FORMAT) for i in range(30)]
    first, second = (results(client, ended(client, submit(client, lines)).output_file_id) for _ in range(2))
    assert [each["custom_id"] for each in first] == [each["custom_id"] for each in second]
    assert [content(each) for each in first] == [content(each) for each in second]
    with Emulator(latency_seconds=0, seed=5) as other, OpenAI(base_url=other.openai_base_url, api_key="k") as seeded:
        third = results(seeded, ended(seeded, submit(seeded, lines)).output_file_id)
    assert [each["custom_id"] for each in third] != [each["custom_id"] for each in first]
    assert {each["custom_id"]: content(each) for each in third} == {each["custom_id"]: content(each) for each in first}


def test_the_bill(client: OpenAI, emulator: Emulator) -> None:
    for _ in range(2):
        ended(client, submit(client, [chat_line("a", "twice"), chat_line("b", "also twice")]))
    batch = ended(client, submit(client, [chat_line("c", "once")]))
    bill = emulator.bill(detail=True)["openai"]
    assert {key: bill[key] for key in ("requests", "distinct", "duplicates", "surplus", "errors")} == {
        "requests": 5,
        "distinct": 3,
        "duplicates": 2,
        "surplus": 2,
        "errors": 0,
    }
    assert sorted(bill["per_request"].values()) == [1, 2, 2]
    assert bill["per_custom_id"] == {"a": 2, "b": 2, "c": 1}
    assert batch.usage is not None
    assert bill["input_tokens"] > batch.usage.input_tokens
    assert "per_request" not in emulator.bill()["openai"]
