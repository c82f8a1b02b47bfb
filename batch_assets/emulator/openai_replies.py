"""The answers to single OpenAI requests, in the exact shape of each endpoint (OpenAPI spec 2.3.0, read 2026-11)."""

import base64
import struct
from dataclasses import dataclass
from typing import Any

from batch_assets.emulator import tokens
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.openai_errors import error_body, usual_error
from batch_assets.emulator.openai_parts import Invalid
from batch_assets.emulator.openai_requests import (
    CHAT,
    EMBEDDINGS,
    RESPONSES,
    read_chat,
    read_embeddings,
    read_responses,
)
from batch_assets.emulator.speech import Ask, Said, say, vector


@dataclass(slots=True)
class Reply:
    """One answer. An error (status from 400 on) is not billed."""

    status: int
    body: dict[str, Any]
    usage: Usage

    @property
    def ok(self) -> bool:
        return self.status < 400


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


def _say(ask: Ask, fault: Fault | None) -> Said:
    try:
        return say(ask, fault)
    except ValueError as error:
        raise Invalid(f"Invalid schema for response_format: {error}", "response_format") from None


def _chat(ask: Ask, said: Said, body: dict[str, Any], key: str, now: int) -> dict[str, Any]:
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


def _response(ask: Ask, said: Said, body: dict[str, Any], key: str, now: int) -> dict[str, Any]:
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
        "text": {"format": {"type": "text"}, **(body.get("text") or {})},
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
        embedding: list[float] | str = vector(each, dimensions)
        if body.get("encoding_format") == "base64":
            embedding = base64.b64encode(struct.pack(f"<{dimensions}f", *embedding)).decode()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    usage = {"prompt_tokens": used, "total_tokens": used}
    return Reply(
        status=200,
        body={"object": "list", "data": data, "model": model, "usage": usage},
        usage=Usage(input=used),
    )


__all__ = ["CHAT", "EMBEDDINGS", "RESPONSES", "Reply", "reply"]
