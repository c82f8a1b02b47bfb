"""The answers to single Mistral requests, in the exact shape of each endpoint (mistral-openapi.yaml, read 2026-11).

Not exhaustive about what the API refuses: it looks for the mistakes that a client of the batch API makes.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from batch_assets.emulator import media, tokens
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.mistral_errors import error_body, unprocessable, usual_error
from batch_assets.emulator.speech import Ask, Said, say, vector

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"

_CHAT_KEYS = """
    model messages temperature top_p max_tokens stream stop random_seed metadata response_format tools tool_choice
    presence_penalty frequency_penalty min_tokens repetition_penalty top_k logprobs top_logprobs prompt_logprobs
    top_prompt_logprobs n prediction parallel_tool_calls reasoning_effort prompt_mode guardrails prompt_cache_key
    service_tier safe_prompt
"""
_EMBEDDINGS_KEYS = "model input metadata output_dimension output_dtype encoding_format"
_KEYS = {endpoint: frozenset(keys.split()) for endpoint, keys in ((CHAT, _CHAT_KEYS), (EMBEDDINGS, _EMBEDDINGS_KEYS))}
_ROLES = frozenset({"system", "user", "assistant", "tool"})
_IMAGES = ("image/jpeg", "image/png", "image/webp", "image/gif")
_PAGE_TOKENS = 1_500
_OTHER_CHUNKS = {"input_audio": 500, "file": 1_500}
_DIMENSIONS = 1024
# A model of Mistral's that refuses says so in its text. Unverified: what the guardrails answer in a batch.
_BLOCKED = {
    "refusal": "The request was refused by a guardrail.",
    "content_filter": "The response was blocked by a guardrail.",
}


@dataclass(slots=True)
class Reply:
    """One answer. An error (status from 400 on) is not billed."""

    status: int
    body: dict[str, Any]
    usage: Usage

    @property
    def ok(self) -> bool:
        return self.status < 400


class Invalid(Exception):
    """A single request is answered with status 422."""

    def __init__(self, *loc: str | int, msg: str, kind: str = "value_error") -> None:
        super().__init__(msg)
        self.body = unprocessable(("body", *loc), msg, kind)


def reply(
    endpoint: str, model: str | None, body: dict[str, Any], fingerprint: bytes, *, now: int, fault: Fault | None
) -> Reply:
    """The answer to `body` at `endpoint` in a job with `model`; depends on nothing but the arguments."""
    if fault is not None and fault.fault == "request_error":
        status = int(fault.params["status"])
        error = usual_error(status, message=fault.params["message"], code=fault.params["code"])
        return Reply(status=status, body=error, usage=Usage())
    if fault is not None and fault.fault in _BLOCKED:
        return Reply(status=403, body=error_body(_BLOCKED[fault.fault], "guardrail_blocked"), usage=Usage())
    try:
        if endpoint == EMBEDDINGS:
            return _embeddings(model, body, fingerprint.hex())
        ask = _read_chat(model, body)
        try:
            said = say(ask, fault)
        except ValueError as error:
            raise Invalid("response_format", msg=f"Invalid schema: {error}") from None
    except Invalid as error:
        return Reply(status=422, body=error.body, usage=Usage())
    return Reply(status=200, body=_chat(ask, said, fingerprint.hex(), now), usage=said.usage)


def _chat(ask: Ask, said: Said, key: str, now: int) -> dict[str, Any]:
    usage = said.usage
    message = {"role": "assistant", "content": said.text, "tool_calls": None, "prefix": False}
    return {
        "id": key[:32],
        "object": "chat.completion",
        "created": now,
        "model": ask.model,
        "choices": [{"index": index, "message": message, "finish_reason": said.finish} for index in range(ask.choices)],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},  # not in the OpenAPI file: unverified
        },
    }


def _embeddings(model: str | None, body: dict[str, Any], key: str) -> Reply:
    name = _model(model, body)
    _known(body, EMBEDDINGS)
    given = body.get("input")
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not inputs or not all(isinstance(each, str) and each for each in inputs):
        raise Invalid("input", msg="Input should be a valid string or a list of valid strings")
    dimensions = _integer(body, "output_dimension", 1, 3072) or _DIMENSIONS
    used = sum(tokens.count(each) for each in inputs)
    data = [
        {"object": "embedding", "embedding": vector(each, dimensions), "index": index}
        for index, each in enumerate(inputs)
    ]
    usage = {"prompt_tokens": used, "completion_tokens": 0, "total_tokens": used}
    answer = {"id": key[:32], "object": "list", "data": data, "model": name, "usage": usage}
    return Reply(status=200, body=answer, usage=Usage(input=used))


def _read_chat(model: str | None, body: dict[str, Any]) -> Ask:
    ask = Ask(model=_model(model, body))
    _known(body, CHAT)
    if body.get("stream"):
        raise Invalid("stream", msg="Streaming is not supported in batch jobs")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages", msg="List should have at least 1 item", kind="too_short")
    texts = [_message(ask, message, position) for position, message in enumerate(messages)]
    users = [position for position, message in enumerate(messages) if message["role"] == "user"]
    ask.prompt = texts.pop(users[-1] if users else -1)
    ask.before = texts
    ask.choices = _integer(body, "n", 1, 128) or 1
    ask.max_tokens = _integer(body, "max_tokens", 0)
    temperature = body.get("temperature")
    if temperature is not None and (not isinstance(temperature, int | float) or not 0 <= temperature <= 1.5):
        raise Invalid("temperature", msg="Input should be less than or equal to 1.5", kind="less_than_equal")
    if (form := body.get("response_format")) is not None:
        _format(ask, form)
    return ask


def _message(ask: Ask, message: Any, position: int) -> str:
    """The text of one message."""
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        raise Invalid("messages", position, msg="Input tag found does not match any of the expected tags")
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None and role == "assistant":
        return ""
    if not isinstance(content, list):
        raise Invalid("messages", position, "content", msg="Input should be a valid string")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind in ("image_url", "document_url"):
            ask.extra_tokens += _media_tokens(part, ("messages", position, "content", kind))
        elif kind in _OTHER_CHUNKS:
            ask.extra_tokens += _OTHER_CHUNKS[kind]
        else:
            raise Invalid("messages", position, "content", msg=f"Unknown chunk type {kind!r}")
    return "\n".join(texts)


def _media_tokens(chunk: dict[str, Any], where: tuple[str | int, ...]) -> int:
    """What an image or a document costs: addresses and `data:` URLs (the SDK's types, read 2026-11)."""
    kind = chunk["type"]
    known = {"type", kind, "document_name"} if kind == "document_url" else {"type", kind}
    if unknown := sorted(chunk.keys() - known):
        raise Invalid(*where, unknown[0], msg="Extra inputs are not permitted", kind="extra_forbidden")
    given = chunk.get(kind)
    if kind == "image_url" and isinstance(given, dict):
        given = given.get("url")
    try:
        data = media.at_url(given, _IMAGES if kind == "image_url" else (media.PDF,))
    except media.Unreadable as error:
        raise Invalid(*where, msg=f"Input is not usable: {error}") from None
    return 64 + media.pixels(data) // 784 if kind == "image_url" else _PAGE_TOKENS * media.pages(data)


def _format(ask: Ask, form: Any) -> None:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        ask.json_object = True
    elif kind == "json_schema":
        inner = form.get("json_schema")
        if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict) or not inner.get("name"):
            raise Invalid("response_format", "json_schema", msg="Field required", kind="missing")
        ask.schema = orjson.dumps(inner["schema"])
    elif kind != "text":
        raise Invalid("response_format", "type", msg="Input should be 'text', 'json_object' or 'json_schema'")


def _model(model: str | None, body: dict[str, Any]) -> str:
    name = body.get("model", model)
    if not isinstance(name, str) or not name:
        raise Invalid("model", msg="Field required", kind="missing")
    return name


def _known(body: dict[str, Any], endpoint: str) -> None:
    if unknown := sorted(body.keys() - _KEYS[endpoint]):
        raise Invalid(unknown[0], msg="Extra inputs are not permitted", kind="extra_forbidden")


def _integer(body: dict[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        raise Invalid(name, msg=f"Input should be an integer from {low} to {high}")
    return value
