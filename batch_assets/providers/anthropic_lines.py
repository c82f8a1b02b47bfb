"""Result lines of Anthropic's Message Batches (SDK types of 2.12, read 2026-11).

Errored, expired and canceled requests are not billed.
"""

from __future__ import annotations

import msgspec

from batch_assets.providers.protocol import ResultLine
from batch_assets.records import Outcome

_UNEXECUTED = {
    "expired": (Outcome.EXPIRED, "the completion window passed before it was executed"),
    "canceled": (Outcome.CANCELED, "canceled before it was executed"),
}
_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
_CURABLE = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})


class _Identified(msgspec.Struct, gc=False):
    custom_id: str


class _ErrorDetail(msgspec.Struct, gc=False):
    type: str
    message: str | None = None


class _Error(msgspec.Struct, gc=False):
    error: _ErrorDetail


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: int = 0


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: list[_Part]
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Result(msgspec.Struct, gc=False):
    type: str
    message: _Message | None = None
    error: _Error | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    result: _Result


_ID_DECODER = msgspec.json.Decoder(_Identified)
_LINE_DECODER = msgspec.json.Decoder(_Line)


def _answered(custom_id: str, message: _Message) -> ResultLine:
    text = "".join(part.text or "" for part in message.content if part.type == "text") or None
    usage = message.usage or _Usage()
    written = usage.cache_creation_input_tokens or 0
    cached = usage.cache_read_input_tokens or 0
    outcome, error, kind = Outcome.SUCCEEDED, None, None
    if message.stop_reason == "refusal":
        outcome, error, kind = Outcome.ERRORED, f"the model refused: {text or 'no text'}", "refusal"
    elif text is None:
        outcome, error, kind = Outcome.ERRORED, f"the response holds no text ({message.stop_reason})", "no_text"
    return ResultLine(
        custom_id=custom_id,
        outcome=outcome,
        text=text,
        error=error,
        error_kind=kind,
        curable=kind == "no_text" and message.stop_reason == "end_turn",
        model=message.model,
        finish_reason=_FINISH.get(message.stop_reason or "", message.stop_reason),
        input_tokens=usage.input_tokens + written + cached,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation else 0,
        output_tokens=usage.output_tokens,
    )


def read_custom_id(line: bytes) -> str | None:
    """The custom_id of a result line; None if the line is not readable."""
    try:
        return _ID_DECODER.decode(line).custom_id
    except msgspec.MsgspecError:
        return None


def read_result(line: bytes) -> ResultLine:
    """A whole result line. Raises ValueError if it is not readable."""
    read = _LINE_DECODER.decode(line)
    result = read.result
    if result.type == "succeeded" and result.message is not None:
        return _answered(read.custom_id, result.message)
    if result.type == "errored" and result.error is not None:
        error = result.error.error
        return ResultLine(
            custom_id=read.custom_id,
            outcome=Outcome.ERRORED,
            error=error.message or error.type,
            error_kind=error.type,
            curable=error.type in _CURABLE,
        )
    if result.type in _UNEXECUTED:
        outcome, text = _UNEXECUTED[result.type]
        curable = outcome is Outcome.EXPIRED
        return ResultLine(
            custom_id=read.custom_id, outcome=outcome, error=text, error_kind=result.type, curable=curable
        )
    raise ValueError(f"a result of the unknown type {result.type!r}")
