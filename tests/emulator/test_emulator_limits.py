"""Limits at their boundary, and bad input, in the provider's own words."""

import json
from typing import Any

import pytest
from batch_lines import CHAT, EMBEDDINGS, RESPONSES, chat_line, chat_lines, ended, jsonl, line, submit
from openai import APIStatusError, AuthenticationError, BadRequestError, NotFoundError, OpenAI, RateLimitError
from openai.types import Batch

from batch_assets.emulator import Emulator


def problems(batch: Batch) -> list[tuple[str | None, int | None, str | None]]:
    assert batch.status == "failed", batch
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert all(each.message for each in batch.errors.data)
    return [(each.code, each.line, each.param) for each in batch.errors.data]


def test_number_of_requests(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_limits(max_requests=10)
    assert ended(client, submit(client, chat_lines(10))).status == "completed"
    batch = ended(client, submit(client, chat_lines(11)))
    assert problems(batch) == [("too_many_tasks", None, None)]
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert batch.failed_at is not None
    assert emulator.bill()["openai"]["requests"] == 10


def test_number_of_bytes(client: OpenAI, emulator: Emulator) -> None:
    content = jsonl(chat_lines(3))
    emulator.set_limits(max_bytes=len(content))
    assert ended(client, submit(client, content)).status == "completed"
    assert problems(ended(client, submit(client, content + b" "))) == [("file_too_large", None, None)]


def test_size_of_an_upload(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_limits(max_file_bytes=1000)
    assert client.files.create(file=("a.jsonl", b"x" * 1000), purpose="batch").bytes == 1000
    with pytest.raises(APIStatusError) as caught:
        client.files.create(file=("a.jsonl", b"x" * 1001), purpose="batch")
    assert caught.value.status_code == 413
    assert len(client.files.list().data) == 1


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({**chat_line("a")}, ("duplicate_custom_id", 2, "custom_id")),
        (chat_line("b", model="gpt-5"), ("model_mismatch", 2, "body.model")),
        ({**chat_line("b"), "url": RESPONSES}, ("url_mismatch", 2, "url")),
        ({**chat_line("b"), "method": "GET"}, ("invalid_method", 2, "method")),
        ({"custom_id": "b", "url": CHAT, "body": {}}, ("missing_required_parameter", 2, "method")),
        ({"method": "POST", "url": CHAT, "body": {}}, ("missing_required_parameter", 2, "custom_id")),
        ({**chat_line("b"), "custom_id": 7}, ("invalid_type", 2, "custom_id")),
        ([1], ("invalid_json_line", 2, None)),
    ],
)
def test_a_bad_line_fails_the_batch(client: OpenAI, emulator: Emulator, second: Any, expected: tuple[Any, ...]) -> None:
    assert problems(ended(client, submit(client, [chat_line("a"), second, chat_line("z")]))) == [expected]
    assert emulator.bill() == {}


def test_every_bad_line_is_named(client: OpenAI) -> None:
    content = jsonl(chat_lines(2)) + b"{not json\n" + b"\n" + jsonl([chat_line("z")]) + b"\xff\xfe\n"
    found = problems(ended(client, submit(client, content)))
    assert found == [("invalid_json_line", number, None) for number in (3, 4, 6)]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n  \n"])
def test_an_empty_file_fails_the_batch(client: OpenAI, content: bytes) -> None:
    assert problems(ended(client, submit(client, content))) == [("empty_file", None, None)]


def test_unknown_model(client: OpenAI, emulator: Emulator) -> None:
    lines = [chat_line("a", model="nonexistent-model")]
    assert problems(ended(client, submit(client, lines))) == [("model_not_found", 1, "body.model")]
    emulator.set_limits(models=["gpt-5"])
    assert problems(ended(client, submit(client, chat_lines(1)))) == [("model_not_found", 1, "body.model")]


def test_embedding_inputs(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_limits(max_embedding_inputs=4)

    def run(count: int) -> Batch:
        lines = [line(str(i), EMBEDDINGS, model="text-embedding-3-small", input=["a", "b"]) for i in range(count)]
        return ended(client, submit(client, lines, endpoint=EMBEDDINGS))

    assert run(2).status == "completed"
    assert problems(run(3)) == [("too_many_tasks", None, None)]


def test_enqueued_tokens_fail_the_batch_later(client: OpenAI, emulator: Emulator) -> None:
    content = jsonl(chat_lines(8))
    emulator.set_limits(enqueued_tokens=2 * (len(content) // 4))
    emulator.set_latency(1000)
    first, second, third = (submit(client, content) for _ in range(3))
    emulator.advance(200)
    assert [client.batches.retrieve(each.id).status for each in (first, second)] == ["in_progress", "in_progress"]
    third = client.batches.retrieve(third.id)
    assert problems(third) == [("token_limit_exceeded", None, None)]
    assert third.errors is not None
    assert third.errors.data is not None
    assert "Enqueued token limit reached for gpt-5-mini in organization org-emulator" in str(
        third.errors.data[0].message
    )
    emulator.advance(1000)
    emulator.set_latency(0)
    assert ended(client, submit(client, content)).status == "completed"


def test_enqueued_tokens_refuse_the_create(client: OpenAI, emulator: Emulator) -> None:
    content = jsonl(chat_lines(8))
    emulator.set_limits(enqueued_tokens=len(content) // 4, enqueued_tokens_refuse=True)
    emulator.set_latency(1000)
    submit(client, content)
    with pytest.raises(RateLimitError) as caught:
        submit(client, content)
    assert caught.value.code == "token_limit_exceeded"
    assert len(client.batches.list().data) == 1


def test_batches_per_hour(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_limits(batches_per_hour=2)
    for _ in range(2):
        submit(client, chat_lines(1))
    with pytest.raises(RateLimitError) as caught:
        submit(client, chat_lines(1))
    assert caught.value.response.headers["retry-after"] == "60"
    emulator.advance(3601)
    submit(client, chat_lines(1))


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({f"k{i}": "v" for i in range(17)}, "object_above_max_properties"),
        ({"k" * 65: "v"}, "string_above_max_length"),
        ({"k": "v" * 513}, "string_above_max_length"),
        ({"k": 1}, "invalid_type"),
        ("text", "invalid_type"),
    ],
)
def test_metadata_beyond_its_bounds(client: OpenAI, metadata: Any, code: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        submit(client, chat_lines(1), metadata=metadata)
    assert caught.value.code == code
    assert caught.value.param is not None
    assert caught.value.param.startswith("metadata")


def test_metadata_at_its_bounds(client: OpenAI) -> None:
    metadata = {f"{i:02}" + "k" * 62: "v" * 512 for i in range(16)}
    assert submit(client, chat_lines(1), metadata=metadata).metadata == metadata


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"input_file_id": "file-none"}, 404, "id"),
        ({"input_file_id": "none"}, 400, "input_file_id"),
        ({"input_file_id": None}, 400, "input_file_id"),
        ({"endpoint": "/v1/nothing"}, 400, "endpoint"),
        ({"completion_window": "12h"}, 400, "completion_window"),
        ({"unheard_of": 1}, 400, "unheard_of"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3599}}, 400, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, 400, "output_expires_after.anchor"),
    ],
)
def test_a_bad_create_is_refused(client: OpenAI, change: dict[str, Any], status: int, param: str) -> None:
    file = client.files.create(file=("in.jsonl", jsonl(chat_lines(1))), purpose="batch")
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **change}
    with pytest.raises(APIStatusError) as caught:
        client.post("/batches", body=body, cast_to=object)
    assert (caught.value.status_code, caught.value.param) == (status, param)
    assert client.batches.list().data == []


def test_a_file_of_another_purpose_is_no_input(client: OpenAI) -> None:
    file = client.files.create(file=("in.jsonl", jsonl(chat_lines(1))), purpose="user_data")
    with pytest.raises(BadRequestError, match="expected 'batch'"):
        client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("in.txt", {"purpose": "batch"}),
        ("in.jsonl", {"purpose": "nonsense"}),
        ("in.jsonl", {"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 1}}),
    ],
)
def test_a_bad_upload_is_refused(client: OpenAI, name: str, params: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        client.files.create(file=(name, b"{}"), **params)
    assert client.files.list().data == []


@pytest.mark.parametrize("limit", [0, 101, "many"])
def test_a_bad_page_size_is_refused(client: OpenAI, limit: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.batches.list(limit=limit)
    assert caught.value.param == "limit"


def test_keys(client: OpenAI, emulator: Emulator) -> None:
    with pytest.raises(AuthenticationError) as caught:
        client.with_options(api_key="sk-invalid-secret").batches.list()
    assert caught.value.code == "invalid_api_key"
    assert "secret" not in json.dumps(caught.value.body)
    with pytest.raises(AuthenticationError, match="didn't provide an API key"):
        client.batches.list(extra_headers={"Authorization": ""})
    assert client.with_options(api_key="anything").batches.list().data == []
    assert client.batches.list(extra_headers={"Authorization": "", "api-key": "azure"}).data == []


def test_a_body_that_is_not_json(client: OpenAI) -> None:
    for body in (b"{", b"[]", b""):
        with pytest.raises(BadRequestError):
            client.post("/batches", content=body, cast_to=object)


def test_unknown_ids(client: OpenAI) -> None:
    for call in (client.batches.retrieve, client.batches.cancel, client.files.retrieve):
        with pytest.raises(NotFoundError):
            call("batch_../../etc")
