"""The body of a create call: streamed to disk, then cut into one request a line, in bounded memory.

What is checked here refuses the whole batch at once; a request's `params` are looked at when it is executed. Facts: the
batch guide, read 2026-11; the words for a custom_id are those that users report; those for duplicates are not known.
"""

import codecs
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from starlette.requests import Request

from batch_assets.emulator.anthropic_errors import Refused

_BLOCK_BYTES = 1 << 20
_LONGEST_VALUE = 1 << 26  # characters of one value, above which it is taken for a broken body
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicLimits:
    """Bounds per batch and account (batch guide, read 2026-11); tests lower them through the control endpoint."""

    max_requests: int = 100_000
    max_bytes: int = 256_000_000  # of the body; the guide says 256 MB, and not which
    queued_requests: int | None = None  # over the open batches of an account; more are refused with a 429
    models: list[str] | None = None  # None: any that does not begin with "nonexistent"

    def knows(self, model: str) -> bool:
        return not model.startswith("nonexistent") if self.models is None else model in self.models


async def receive_body(request: Request, path: Path, *, max_bytes: int) -> int:
    """Write the body to `path`; its size. Raises Refused (413), after reading all, so that the client gets to know."""
    size = 0
    with path.open("wb") as target:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= max_bytes:
                target.write(chunk)
    if size > max_bytes:
        raise Refused(413, f"Request exceeds the maximum size of {max_bytes} bytes")
    return size


def cut_requests(body: Path, target: Path, limits: AnthropicLimits) -> int:
    """Write the requests of a create call's body to `target`, one a line; their number. Raises Refused (400)."""
    with body.open("rb") as source, target.open("wb") as lines:
        text = _Text(source)
        text.expect("{")
        count: int | None = None
        while text.peek() != "}":
            key = text.value()[0]
            text.expect(":")
            if key == "requests" and count is None:
                count = _cut(text, lines, limits)
            else:
                raise Refused(400, f"{key}: Extra inputs are not permitted")
            text.separator("}")
        text.expect("}")
        text.expect("")
    if count is None:
        raise Refused(400, "requests: Field required")
    if count == 0:
        raise Refused(400, "requests: List should have at least 1 item after validation, not 0")
    return count


def _cut(text: "_Text", lines: BinaryIO, limits: AnthropicLimits) -> int:
    """The elements of the array that begins here."""
    seen: set[int] = set()
    count = 0
    text.expect("[")
    while text.peek() != "]":
        value, raw = text.value()
        seen.add(hash(_custom_id(value, count)))
        count += 1
        if count > limits.max_requests:
            message = f"requests: List should have at most {limits.max_requests} items after validation"
            raise Refused(400, message)
        if len(seen) < count:
            raise Refused(400, f"requests.{count - 1}.custom_id: custom_id must be unique within the batch")
        lines.write(raw.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")  # JSON has them between values only
        text.separator("]")
    text.expect("]")
    return count


def _custom_id(value: Any, place: int) -> str:
    """The custom_id of a request. Raises Refused."""
    where = f"requests.{place}"
    if not isinstance(value, dict):
        raise Refused(400, f"{where}: Input should be a valid dictionary")
    for key in ("custom_id", "params"):
        if key not in value:
            raise Refused(400, f"{where}.{key}: Field required")
    if unknown := value.keys() - {"custom_id", "params"}:
        raise Refused(400, f"{where}.{min(unknown)}: Extra inputs are not permitted")
    custom_id = value["custom_id"]
    if not isinstance(custom_id, str):
        raise Refused(400, f"{where}.custom_id: Input should be a valid string")
    if len(custom_id) > 64:
        raise Refused(400, f"{where}.custom_id: String should have at most 64 characters")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise Refused(400, f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if not isinstance(value["params"], dict):
        raise Refused(400, f"{where}.params: Input should be a valid dictionary")
    return custom_id


class _Text:
    """A JSON text in a file, of which one value and a block are in memory at a time."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is not space; empty at the end."""
        while True:
            match = _SPACE.match(self._held, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Step over `character`; empty is the end of the text. Raises Refused."""
        if self.peek() != character:
            raise _not_json()
        self._at += len(character)

    def separator(self, end: str) -> None:
        """Step over the comma before another value; stay before `end`. Raises Refused."""
        if self.peek() != end:
            self.expect(",")
            if self.peek() == end:
                raise _not_json()

    def value(self) -> tuple[Any, bytes]:
        """The value that begins here, and its text. Raises Refused."""
        self.peek()
        while True:
            try:
                _, end = self._scan(self._held, self._at)
            except json.JSONDecodeError:
                # Cut off, or broken: what is held doubles each time, so that a long value is not read too often.
                if len(self._held) - self._at > _LONGEST_VALUE or not self._more():
                    raise _not_json() from None
                continue
            raw = self._held[self._at : end].encode()
            self._at = end
            try:
                return orjson.loads(raw), raw  # stricter: no lone surrogates, no NaN
            except orjson.JSONDecodeError:
                raise _not_json() from None

    def _more(self) -> bool:
        rest = self._held[self._at :]
        block = self._source.read(max(_BLOCK_BYTES, len(rest)))
        try:
            self._held, self._at = rest + self._decoder.decode(block, final=not block), 0
        except UnicodeDecodeError:
            raise _not_json() from None
        return bool(block)


def _not_json() -> Refused:
    return Refused(400, "The request body is not valid JSON.")
