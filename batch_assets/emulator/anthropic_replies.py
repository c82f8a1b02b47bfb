"""The answers to single Anthropic requests, in the shape of the Messages API (SDK types 2.12, read 2026-11)."""

from dataclasses import dataclass
from typing import Any

from batch_assets.emulator import tokens
from batch_assets.emulator.anthropic_errors import error_body
from batch_assets.emulator.anthropic_intake import AnthropicLimits
from batch_assets.emulator.anthropic_requests import Ask, Invalid, UnknownModel, read_params
from batch_assets.emulator.anthropic_schema import as_read
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.speech import Ask as Question
from batch_assets.emulator.speech import say

_CACHEABLE_TOKENS = 1024  # a shorter prefix is not cached; for some models the API asks for more
_WRITERS = 16  # of 256 requests with the same prefix, how many write it to the cache; the others read it
_REFUSAL = "The request could not be answered under the usage policy."
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


@dataclass(slots=True)
class Reply:
    """One answer: the `result` of its line. An error is not billed."""

    result: dict[str, Any]
    usage: Usage
    ok: bool


@dataclass(slots=True)
class _Said:
    """What the model says."""

    text: str
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None


@dataclass(slots=True)
class _Input:
    """Input tokens. `written` and `read` are those of the cached prefix; a request does one of the two."""

    plain: int = 0
    written: int = 0
    read: int = 0
    hour: bool = False  # written for an hour, not for five minutes


def reply(
    params: dict[str, Any],
    version: str,
    limits: AnthropicLimits,
    *,
    fingerprint: bytes,
    key: str,
    fault: Fault | None,
) -> Reply:
    """The answer to `params`; depends on nothing but the arguments. `key` is of the message's and request's id."""
    if fault is not None and fault.fault == "request_error":
        return _errored(int(fault.params["status"]), fault.params["message"], key)
    try:
        ask = read_params(params, version)
        if not limits.knows(ask.model):
            raise UnknownModel(f"model: {ask.model}")
        said = _say(ask, fault)
    except UnknownModel as error:
        return _errored(404, str(error), key)
    except Invalid as error:
        return _errored(400, str(error), key)
    given = _input(ask, fingerprint)
    used = tokens.count(said.text) or 1
    message = _message(ask, said, given, used, key)
    usage = Usage(input=given.plain + given.written + given.read, cached=given.read, output=used)
    return Reply(result={"type": "succeeded", "message": message}, usage=usage, ok=True)


def _errored(status: int, message: str | None, key: str) -> Reply:
    error = error_body(status, message=message, request_id=f"req_{key}")
    return Reply(result={"type": "errored", "error": error}, usage=Usage(), ok=False)


def _input(ask: Ask, fingerprint: bytes) -> _Input:
    """Input tokens; deterministic, so whether a request reads the cache or writes it is a matter of its fingerprint."""
    counts = [
        (tokens.count_repeated(part.text) if part.repeated else tokens.count(part.text)) + part.tokens + 4
        for part in ask.parts
    ]
    given = _Input(plain=sum(counts) + 3)
    if ask.schema is not None:
        given.plain += tokens.count_repeated(ask.schema.decode())
    breakpoints = [place for place, part in enumerate(ask.parts) if part.cached_for]
    if not breakpoints:
        return given
    prefix = sum(counts[: breakpoints[-1] + 1])
    if prefix < _CACHEABLE_TOKENS:
        return given
    given.plain -= prefix
    given.hour = ask.parts[breakpoints[-1]].cached_for == "1h"
    if fingerprint[0] < _WRITERS:
        given.written = prefix
    else:
        given.read = prefix
    return given


def _say(ask: Ask, fault: Fault | None) -> _Said:
    """Raises Invalid."""
    schema = None if ask.schema is None else as_read(ask.schema)
    question = Question(model=ask.model, prompt=ask.prompt, schema=schema, max_tokens=ask.max_tokens)
    try:
        answer = say(question, fault)
    except ValueError as error:
        raise Invalid(f"output_config.format.schema: {error}") from None
    if answer.refusal is not None:
        return _Said(text="", stop_reason="refusal")
    for sequence in ask.stop_sequences:
        before, found, _ = answer.text.partition(sequence)
        if found:
            return _Said(text=before, stop_reason="stop_sequence", stop_sequence=sequence)
    return _Said(text=answer.text, stop_reason=_STOP_REASONS[answer.finish])


def _message(ask: Ask, said: _Said, given: _Input, used: int, key: str) -> dict[str, Any]:
    refused = said.stop_reason == "refusal"
    return {
        "id": f"msg_{key}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [{"type": "text", "text": said.text}] if said.text else [],
        "stop_reason": said.stop_reason,
        "stop_sequence": said.stop_sequence,
        "stop_details": {"type": "refusal", "category": None, "explanation": _REFUSAL} if refused else None,
        "usage": {
            "input_tokens": given.plain,
            "cache_creation_input_tokens": given.written,
            "cache_read_input_tokens": given.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if given.hour else given.written,
                "ephemeral_1h_input_tokens": given.written if given.hour else 0,
            },
            "output_tokens": used,
            "service_tier": "batch",
            "inference_geo": "not_available",
        },
    }
