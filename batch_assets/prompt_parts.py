"""`{{ photo | image }}` and `{{ invoice | pdf }}`: images and PDFs in a template, at the place where they stand.

A filter puts a mark into the text and keeps the part; the rendered text is split at the marks. Pure.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

import jinja2
import jinja2.runtime

from batch_assets.parts import Image, Part, PartError, Pdf, shown

HELD = " parts"
"""Of a rendering's variables: where its parts are kept. No column of a template can have that name."""

_NONCE = secrets.token_hex(16)  # a row's own text cannot hold a mark
_MARK = re.compile(rf"\[part {_NONCE} (\d+)\]")


def split(text: str, held: list[Image | Pdf]) -> list[Part]:
    """The texts and parts of a rendered text, in order, without blank texts. Raises PartError."""
    pieces = _MARK.split(text)
    places = [int(place) for place in pieces[1::2]]
    if set(places) != set(range(len(held))):
        raise PartError(
            "an image or PDF of the template did not reach its text whole: print it where it belongs, with no other "
            "filter behind `image` or `pdf`"
        )
    parts: list[Part] = [piece if at % 2 == 0 else held[int(piece)] for at, piece in enumerate(pieces)]
    return [part for part in parts if not isinstance(part, str) or part.strip()]


@jinja2.pass_context
def _image(context: jinja2.runtime.Context, value: object, media_type: str | None = None) -> str:
    return _marks(context, value, "image", lambda source: Image(source, media_type))


@jinja2.pass_context
def _pdf(context: jinja2.runtime.Context, value: object) -> str:
    return _marks(context, value, "pdf", Pdf)


FILTERS: dict[str, Callable[..., Any]] = {"image": _image, "pdf": _pdf}


def _marks(
    context: jinja2.runtime.Context, value: object, kind: str, make: Callable[[str | bytes], Image | Pdf]
) -> str:
    """A mark for a value that is an address or bytes, or for each of a list of them."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises what it is: an unknown name, a null in a column
    held = context.get(HELD)
    marks = []
    for source in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(source, str | bytes):
            given = "null" if source is None else shown(source)
            raise PartError(f"`| {kind}` was given a value {given}: it takes an address, bytes, or a list of them")
        marks.append(f"[part {_NONCE} {len(held)}]")
        held.append(make(source))
    return "".join(marks)
