"""The answers to single OpenAI requests, in the exact shape of each endpoint (OpenAPI spec 2.3.0, read 2026-11)."""

import base64
import struct
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from batch_assets.emulator import answers, tokens
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.openai_errors import error_body, usual_error
from batch_assets.emulator.openai_requests import (
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    Ask,
    Invalid,
    read_chat,
    read_embeddings,
    read_responses,
)
from batch_assets.emulator.reading import Reading

_REFUSAL = "I'm sorry, but I can't assist with that request."
_CACHEABLE_TOKENS = 1024  # a shorter prefix is never cached; hits come in steps of 128


@dataclass(slots=True)
class Reply:
    """One answer. An error (status from 400 on) is not billed."""

    status: int
    body: dict[str, Any]
    usage: Usage

    @property
    def ok(self) -> bool:
        return self.status < 400


@dataclass(slots=True)
class _Said:
    """What the model says, before it is put in the endpoint's shape."""

    text: str
    usage: Usage
    finish: str = "stop"
    refusal: str | None = None


def reply(endpoint: str, body: dict[str, Any], fingerprint: bytes, now: int, fault: Fault | None) -> Reply:
    """The answer to `body` at `endpoint`; depends on nothing but the arguments."""
    if fault is not None and fault.fault == "request_error":
        status = int(fault.params["status"])
        error = usual_error(status, message=fault.params["message"], code=fault.params["code"])
        return Reply(status=status, body=error, usage=Usage())
    try:
        if endpoint == EMBEDDINGS:
            return _embeddings(body)
        ask = read_chat(body) if endpoint == CHAT else read_responses(body)
        said = _say(ask, fault)
    except Invalid as error:
        refused = error_body(error.message, kind="invalid_request_error", param=error.param, code=error.code)
        return Reply(status=400, body=refused, usage=Usage())
    render = _chat if endpoint == CHAT else _response
    return Reply(status=200, body=render(ask, said, body, fingerprint.hex(), now), usage=said.usage)


def _say(ask: Ask, fault: Fault | None) -> _Said:
    """The model's words and what they cost."""
    before = sum(tokens.count_repeated(text) for text in ask.before) + 4 * len(ask.before)
    if ask.schema is not None:
        before += tokens.count_repeated(ask.schema.decode())
    usage = Usage(input=before + tokens.count(ask.prompt) + 7 + ask.extra_tokens)
    if before >= _CACHEABLE_TOKENS:
        usage.cached = before // 128 * 128
    said = _Said(text=_text(ask, fault), usage=usage)
    name = fault.fault if fault is not None else ""
    if name == "refusal":
        said.text, said.refusal = "", _REFUSAL
    elif name == "content_filter":
        said.text, said.finish = "", "content_filter"
    limit = ask.max_tokens
    if name == "length":
        limit = min(limit or 1 << 30, max(1, tokens.count(said.text) // 2))
    used = tokens.count(said.refusal or said.text)
    if limit is not None and used > limit and not said.refusal:
        said.text, said.finish, used = tokens.cut(said.text, limit), "length", limit
    usage.output = ask.choices * used
    return said


def _text(ask: Ask, fault: Fault | None) -> str:
    name = fault.fault if fault is not None else ""
    if name == "invalid_json":
        return '{"answer": "' + answers.answer_text(ask.prompt)[:40].replace('"', "'") + ", oops"
    if ask.schema is not None:
        try:
            make = answers.violating if name == "schema_violation" else answers.answer_json
            return make(ask.schema, ask.prompt).decode()
        except ValueError as error:
            raise Invalid(f"Invalid schema for response_format: {error}", "response_format") from None
    if ask.json_object:
        return answers.answer_json(
            b'{"type":"object","properties":{"summary":{}},"required":["summary"]}', ask.prompt
        ).decode()
    if name == "schema_violation":
        return '{"unexpected": [null]}'
    return answers.answer_text(ask.prompt)


def _chat(ask: Ask, said: _Said, body: dict[str, Any], key: str, now: int) -> dict[str, Any]:
    usage = said.usage
    return {
        "id": f"chatcmpl-{key[:29]}",
        "object": "chat.completion",
        "created": now,
        "model": ask.model,
        "choices": [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": None if said.refusal else said.text,
                    "refusal": said.refusal,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": said.finish,
            }
            for index in range(ask.choices)
        ],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _response(ask: Ask, said: _Said, body: dict[str, Any], key: str, now: int) -> dict[str, Any]:
    usage = said.usage
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    status = "incomplete" if said.finish in reasons else "completed"
    content: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": said.text}
    if said.refusal:
        content = {"type": "refusal", "refusal": said.refusal}
    return {
        "id": f"resp_{key[:48]}",
        "object": "response",
        "created_at": now,
        "status": status,
        "background": False,
        "completed_at": now if status == "completed" else None,
        "error": None,
        "incomplete_details": {"reason": reasons[said.finish]} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "model": ask.model,
        "output": [
            {"id": f"msg_{key[:48]}", "type": "message", "status": status, "content": [content], "role": "assistant"}
        ],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input + usage.output,
        },
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _embeddings(body: dict[str, Any]) -> Reply:
    model, inputs = read_embeddings(body)
    dimensions = body.get("dimensions") or (3072 if "large" in model else 1536)
    data: list[dict[str, Any]] = []
    used = 0
    for index, each in enumerate(inputs):
        used += tokens.count(each) if isinstance(each, str) else len(each)
        vector: list[float] | str = _vector(each, dimensions)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": used, "total_tokens": used}
    return Reply(
        status=200,
        body={"object": "list", "data": data, "model": model, "usage": usage},
        usage=Usage(input=used),
    )


def _vector(given: str | list[int], dimensions: int) -> list[float]:
    """A unit vector in which texts that share words are near each other (feature hashing)."""
    words = Reading(given).stems or {given: 1} if isinstance(given, str) else {str(token): 1 for token in given}
    vector = [0.0] * dimensions
    for word, times in words.items():
        for salt in range(4):
            mixed = crc32(f"{salt}{word}".encode())
            vector[(mixed >> 1) % dimensions] += times if mixed & 1 else -times
    norm = sum(x * x for x in vector) ** 0.5 or 1.0
    return [round(x / norm, 7) if x else 0.0 for x in vector]


__all__ = ["CHAT", "EMBEDDINGS", "RESPONSES", "Reply", "reply"]
