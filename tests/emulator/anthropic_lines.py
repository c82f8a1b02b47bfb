"""Requests, waiting and strict reading, through the official Anthropic SDK."""

import json
import time
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import pydantic
from anthropic import Anthropic
from anthropic.types import Message
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

MODEL: Final = "claude-haiku-4-5"
Model = TypeVar("Model", bound=pydantic.BaseModel)


def request(custom_id: str, text: str = "hello", **params: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return {"custom_id": custom_id, "params": {"model": MODEL, "max_tokens": 100, "messages": messages, **params}}


def requests(count: int) -> list[Any]:
    return [request(f"row-{i}", f"message number {i}") for i in range(count)]


def ended(claude: Anthropic, batch: MessageBatch, timeout_seconds: float = 20) -> MessageBatch:
    deadline = time.monotonic() + timeout_seconds
    while batch.processing_status != "ended":
        assert time.monotonic() < deadline, batch
        batch = claude.messages.batches.retrieve(batch.id)
        if batch.processing_status != "ended":
            time.sleep(0.02)
    return batch


def results(claude: Anthropic, batch: MessageBatch) -> list[MessageBatchIndividualResponse]:
    return list(claude.messages.batches.results(batch.id))


def run(claude: Anthropic, *given: Any) -> dict[str, MessageBatchIndividualResponse]:
    """The results of a batch of these requests, by custom_id."""
    batch = ended(claude, claude.messages.batches.create(requests=given))
    return {line.custom_id: line for line in results(claude, batch)}


def answer(claude: Anthropic, text: str = "hello", **params: Any) -> Message:
    """The message that answers one request."""
    result = run(claude, request("row-0", text, **params))["row-0"].result
    assert result.type == "succeeded", result
    return result.message


def error(claude: Anthropic, **params: Any) -> tuple[str, str]:
    """Type and message of the error that answers one request."""
    result = run(claude, request("row-0", **params))["row-0"].result
    assert result.type == "errored", result
    return result.error.error.type, result.error.error.message


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def strictly(kind: type[Model], raw: bytes | str) -> Model:
    """`raw` JSON as the SDK's type: every type exact, no field that the type does not have."""
    value = kind.model_validate_json(raw, strict=True)
    unknown = list(_unknown(value))
    assert not unknown, unknown
    return value


def _unknown(value: Any) -> Iterator[str]:
    if isinstance(value, pydantic.BaseModel):
        yield from (f"{type(value).__name__}.{name}" for name in value.model_extra or ())
        for _, each in value:
            yield from _unknown(each)
    elif isinstance(value, list):
        for each in value:
            yield from _unknown(each)


def raw_json(value: Any) -> bytes:
    return json.dumps(value).encode()
