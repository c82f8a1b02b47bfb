"""Multipart forms whose file goes straight to disk, whatever its size."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

_LONGEST_FIELD = 1 << 20


class BadFormError(Exception):
    """The body is not the form that it says it is."""


class TooLargeError(Exception):
    """The file has more bytes than allowed."""


@dataclass(slots=True)
class Form:
    """What was received: plain fields, and the file's name and size (the content is where the caller wanted it)."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0


class _Receiver:
    """Callbacks of the multipart parser."""

    def __init__(self, target: BinaryIO, max_bytes: int) -> None:
        self.form = Form()
        self._target = target
        self._max_bytes = max_bytes
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._into_file = False
        self._text = bytearray()

    def on_part_begin(self) -> None:
        self._headers = {}
        self._text = bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._into_file = self._name == "file" and b"filename" in options
        if self._into_file:
            self.form.filename = options[b"filename"].decode("utf-8", "replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._into_file:
            self.form.size += end - start
            if self.form.size > self._max_bytes:
                raise TooLargeError
            self._target.write(memoryview(data)[start:end])
        elif len(self._text) + end - start > _LONGEST_FIELD:
            raise BadFormError(f"field {self._name!r} is too long")
        else:
            self._text += data[start:end]

    def on_part_end(self) -> None:
        if not self._into_file:
            self.form.fields[self._name] = self._text.decode("utf-8", "replace")


async def receive_form(request: Request, path: Path, *, max_bytes: int) -> Form:
    """Read the request's form, its field `file` into `path`.

    Raises BadFormError, TooLargeError (after reading the rest, so that the client gets to read the answer), and
    starlette's ClientDisconnect when the upload is broken off.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadFormError("the body is not multipart/form-data")
    with path.open("wb") as target:
        receiver = _Receiver(target, max_bytes)
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": receiver.on_part_begin,
                "on_part_data": receiver.on_part_data,
                "on_part_end": receiver.on_part_end,
                "on_header_field": receiver.on_header_field,
                "on_header_value": receiver.on_header_value,
                "on_header_end": receiver.on_header_end,
                "on_headers_finished": receiver.on_headers_finished,
            },
        )
        failure: Exception | None = None
        async for chunk in request.stream():
            if failure is None:
                try:
                    parser.write(chunk)
                except (TooLargeError, BadFormError) as error:
                    failure = error
                except FormParserError as error:
                    failure = BadFormError(str(error))
        if failure is not None:
            raise failure
        parser.finalize()
    return receiver.form
