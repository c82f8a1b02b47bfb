"""What a model says to a request, before a wire puts it in its provider's shape."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from json import JSONDecoder
from zlib import crc32

import orjson

from batch_assets.emulator import answers, tokens
from batch_assets.emulator.batches import Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.reading import Reading

_REFUSAL = "I'm sorry, but I can't assist with that request."
_CACHEABLE_TOKENS = 1024  # a shorter prefix is never cached; hits come in steps of 128
_JSON = JSONDecoder()
_JSON_OBJECT = b'{"type":"object","properties":{"summary":{}},"required":["summary"]}'


@dataclass(slots=True)
class Ask:
    """A request in the emulator's terms."""

    model: str
    prompt: str = ""  # the last user message
    before: list[str] = field(default_factory=list)  # every other text, in order
    extra_tokens: int = 0  # of images, files, audio
    schema: bytes | None = None  # canonical JSON, when an answer has to fit one
    json_object: bool = False
    max_tokens: int | None = None
    choices: int = 1


@dataclass(slots=True)
class Said:
    """The answer. `finish` is `stop`, `length` or `content_filter`; with a `refusal` the text is empty."""

    text: str
    usage: Usage
    finish: str = "stop"
    refusal: str | None = None


def say(ask: Ask, fault: Fault | None) -> Said:
    """The model's words and what they cost. Raises ValueError for a schema that cannot be answered."""
    before = sum(tokens.count_repeated(text) for text in ask.before) + 4 * len(ask.before)
    if ask.schema is not None:
        before += tokens.count_repeated(ask.schema.decode())
    usage = Usage(input=before + tokens.count(ask.prompt) + 7 + ask.extra_tokens)
    if before >= _CACHEABLE_TOKENS:
        usage.cached = before // 128 * 128
    said = Said(text=_text(ask, fault), usage=usage)
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
    schema = ask.schema or next(filter(None, map(_told_schema, ask.before)), None)
    if schema is not None:
        make = answers.violating if name == "schema_violation" else answers.answer_json
        return make(schema, ask.prompt).decode()
    if name == "schema_violation":
        return '{"unexpected": [null]}'
    if ask.json_object:
        return answers.answer_json(_JSON_OBJECT, ask.prompt).decode()
    return answers.answer_text(ask.prompt)


@lru_cache(maxsize=256)
def _told_schema(text: str) -> bytes | None:
    """The JSON Schema of an object that a text before the prompt tells, as a model would read it there."""
    start = text.find('{"')
    while start >= 0:
        with suppress(ValueError):  # no JSON, or a schema that cannot be followed
            found, _ = _JSON.raw_decode(text, start)
            if isinstance(found, dict) and found.get("type") == "object" and found.get("properties"):
                schema = orjson.dumps(found)
                answers.compiled(schema)
                return schema
        start = text.find('{"', start + 1)
    return None


def vector(given: str | list[int], dimensions: int) -> list[float]:
    """A unit vector in which texts that share words are near each other (feature hashing)."""
    words = Reading(given).stems or {given: 1} if isinstance(given, str) else {str(token): 1 for token in given}
    values = [0.0] * dimensions
    for word, times in words.items():
        for salt in range(4):
            mixed = crc32(f"{salt}{word}".encode())
            values[(mixed >> 1) % dimensions] += times if mixed & 1 else -times
    norm = sum(x * x for x in values) ** 0.5 or 1.0
    return [round(x / norm, 7) if x else 0.0 for x in values]
