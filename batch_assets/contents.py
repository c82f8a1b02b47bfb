"""What the prompt of a row is when it is rendered: a content as JSON, or the reason why there is none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from batch_assets.parts import Image, MediaWeight, PartError, PartsForm, Pdf

BLANK = "the rendered prompt is empty"
_NOT_UNICODE = "the rendered prompt is not valid Unicode text (it has a lone surrogate)"
_PARTS = "it has to hold texts (str), Image and Pdf"
TEXT_ONLY = "this endpoint takes a text alone, no images and no PDFs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The user contents of one batch of rows, in the order of the rows.

    `contents[i]` is the content of row i as a JSON value in UTF-8: a string literal, byte for byte what
    `orjson.dumps(text)` writes, or the provider's own array where the row has images or PDFs; null where the row could
    not be rendered. `errors[i]` is the reason for each row that has no content, and for no other.
    `media[i]` says how much of an array is not text.
    """

    contents: pa.LargeBinaryArray
    errors: dict[int, str]
    media: dict[int, MediaWeight] = field(default_factory=dict)


class Content(NamedTuple):
    """Of one row: its content, or the reason why it has none."""

    json: bytes | None
    reason: str | None = None
    media: MediaWeight | None = None


def text_content(content: object) -> Content:
    """One rendered text as JSON, or the reason why it is none."""
    if not isinstance(content, str):
        return Content(
            None,
            f"the prompt function returned a {type(content).__name__}; it has to return a text (str), or a list of "
            "texts, Image and Pdf",
        )
    if not content.strip():
        return Content(None, BLANK)
    try:
        return Content(orjson.dumps(str(content)))
    except orjson.JSONEncodeError:
        return Content(None, _NOT_UNICODE)


def parts_content(parts: Sequence[object], form: PartsForm | None) -> Content:
    """Texts, images and PDFs as the provider's own JSON, or the reason why they are none."""
    known = [part for part in parts if isinstance(part, str | Image | Pdf)]
    if len(known) < len(parts):
        strange = next(part for part in parts if not isinstance(part, str | Image | Pdf))
        return Content(None, f"the prompt function returned a list with a {type(strange).__name__} in it; {_PARTS}")
    if not known or any(isinstance(part, str) and not part.strip() for part in known):
        return Content(None, BLANK if not known else "the list that the prompt function returned has an empty text")
    if form is None:
        return Content(None, TEXT_ONLY)
    try:
        content, weight = form.content(known)
    except PartError as error:
        return Content(None, str(error))
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        return Content(None, _NOT_UNICODE)
    return Content(content, None, weight)


def column_values(column: pa.Array, name: str, errors: dict[int, str]) -> list[Any]:
    """Return the column as Python values; a value that is not valid UTF-8 becomes None and an error of its row."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = []
        for index, scalar in enumerate(column):
            try:
                values.append(scalar.as_py())
            except UnicodeDecodeError as error:
                values.append(None)
                errors.setdefault(index, f"column {name!r} is not valid UTF-8 (byte {error.start})")
    return values
