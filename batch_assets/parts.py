"""Images and PDFs as parts of a prompt: what a user writes, what it is, and whether a provider takes it. Pure.

A part is sent by its address, which the provider reads when it executes the request, or by its bytes, in base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import orjson

PDF = "application/pdf"
URL_PAGES = 10
"""Pages that an estimate assumes of a PDF that is given by its address, or whose pages cannot be counted."""

_SUFFIXES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "svg": "image/svg+xml",
    "pdf": PDF,
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
}
_BEGINNINGS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb".{4}ftyp(?:heic|heix|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb".{4}ftyp(?:mif1|msf1|heim|heis)", re.DOTALL), "image/heif"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff"),
    (re.compile(rb"BM.{4}\x00{4}", re.DOTALL), "image/bmp"),
)
_PDF_WITHIN = 1024  # where readers look for its mark
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_COUNT = re.compile(rb"/Count\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a prompt: its bytes (or a `data:` URL of them), or its address: https://, gs:// where that is read.

    `media_type` (`image/png`) is told by the bytes, or by the ending of the address; give it where that has none.
    """

    source: str | bytes
    media_type: str | None = None

    def __repr__(self) -> str:
        return f"Image({shown(self.source)})"


@dataclass(frozen=True, slots=True)
class Pdf:
    """A PDF of a prompt: its bytes (or a `data:` URL of them), or its address: https://, gs:// where that is read."""

    source: str | bytes

    def __repr__(self) -> str:
        return f"Pdf({shown(self.source)})"


Part: TypeAlias = str | Image | Pdf


class PartError(ValueError):
    """A part cannot be sent: the reason and the cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What a provider takes besides text. An empty set of types or ways: it takes none."""

    name: str
    """As a person knows it: `OpenAI's chat completions`."""
    image_types: frozenset[str]
    image_ways: frozenset[str]
    """Schemes of addresses, and `bytes`."""
    pdf_ways: frozenset[str]
    max_image_bytes: int
    """Of the image itself, not of its base64."""
    max_pdf_bytes: int
    typed_addresses: bool = False
    """The media type has to be told beside an address."""
    image_tokens: int
    """What an estimate assumes of one image."""
    page_tokens: int
    """What it assumes of one page of a PDF."""
    cures: Mapping[str, str]
    """What to do instead, by `image` or `pdf` with a way: `pdf https`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image or a PDF, checked: either its address or its bytes in base64."""

    kind: Literal["image", "pdf"]
    media_type: str | None
    """None: only its address is known, which does not tell."""
    address: str | None
    data: str | None
    tokens: int
    """Assumed for estimates."""

    @property
    def url(self) -> str:
        """Its address, or its bytes as a `data:` URL."""
        return self.address if self.address is not None else f"data:{self.media_type};base64,{self.data}"


@dataclass(frozen=True, slots=True)
class MediaWeight:
    """How much of a content is not text."""

    bytes: int
    """Of the content as it is sent: base64, addresses, framing."""
    tokens: int
    """Assumed for the images and PDFs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsForm:
    """How a provider writes contents that are not a text alone."""

    limits: MediaLimits
    text: Callable[[str], dict[str, Any]]
    media: Callable[[Media], dict[str, Any]]
    whole: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list
    """The content made of the parts."""

    def content(self, parts: Sequence[Part]) -> tuple[bytes, MediaWeight]:
        """The native content, a JSON array, and how much of it is not text. Raises PartError."""
        native, text_bytes, tokens = [], 0, 0
        for part in parts:
            if isinstance(part, str):
                native.append(self.text(part))
                text_bytes += len(part.encode())
            else:
                media = read(part, self.limits)
                native.append(self.media(media))
                tokens += media.tokens
        content = orjson.dumps(self.whole(native))
        return content, MediaWeight(len(content) - text_bytes, tokens)


def kind_of(part: Image | Pdf) -> Literal["image", "pdf"]:
    """What an error and a template call it."""
    return "image" if isinstance(part, Image) else "pdf"


def check_kind(kind: str, limits: MediaLimits) -> None:
    """Raise PartError if the provider takes no such part in any way."""
    if not (limits.image_ways if kind == "image" else limits.pdf_ways):
        cure = limits.cures.get(kind, "leave it out, or choose another provider")
        raise PartError(f"{limits.name} take no {_NAMES[kind]}: {cure}")


def read(part: Image | Pdf, limits: MediaLimits) -> Media:
    """Find out what a part is and whether the provider takes it. Raises PartError."""
    kind = kind_of(part)
    check_kind(kind, limits)
    part = _with_bytes(part)
    source = part.source
    ways = limits.image_ways if kind == "image" else limits.pdf_ways
    if not isinstance(source, str | bytes) or not source:
        given = "empty" if source in ("", b"") else f"a {type(source).__name__}"
        raise PartError(f"an {kind} is {given}; give its bytes, or its address as a text".replace("an pdf", "a pdf"))
    way = "bytes" if isinstance(source, bytes) else urlsplit(source).scheme.lower()
    if way not in ways:
        known = ", ".join(f"{each}://" if each != "bytes" else "bytes" for each in sorted(ways))
        cure = limits.cures.get(f"{kind} {way}", f"give one of: {known}")
        raise PartError(f"{limits.name} do not take the {kind} {shown(source)}: {cure}")
    media_type = _media_type(part, limits)
    if isinstance(source, bytes):
        _check_size(kind, source, limits)
        data, address = base64.b64encode(source).decode("ascii"), None
    else:
        data, address = None, source
    tokens = limits.image_tokens if kind == "image" else limits.page_tokens * _pages(source)
    return Media(kind=kind, media_type=media_type, address=address, data=data, tokens=tokens)


def shown(source: object) -> str:
    """A source as an error may show it: without its bytes, and without an address's query, which may be a signature."""
    if isinstance(source, bytes):
        return f"of {len(source):,} bytes"
    if not isinstance(source, str):
        return f"of the type {type(source).__name__}"
    if source[:5].lower() == "data:":
        return f"of a data: URL of {len(source):,} characters"
    plain = source.partition("?")[0].partition("#")[0]
    plain = re.sub(r"//[^/@]*@", "//", plain)
    return repr(plain if len(plain) <= 100 else f"{plain[:100]}…")


def _with_bytes(part: Image | Pdf) -> Image | Pdf:
    """The same part, with the bytes of a `data:` URL: files of text hold bytes so. Raises PartError."""
    source = part.source
    if not isinstance(source, str) or source[:5].lower() != "data:":
        return part
    head, comma, data = source.partition(",")
    try:
        if not (comma and head.lower().endswith(";base64")):
            raise ValueError
        return replace(part, source=base64.b64decode(data, validate=True))
    except ValueError:
        raise PartError(f"the {kind_of(part)} {shown(source)} does not read `data:TYPE;base64,...`") from None


_NAMES = {"image": "images", "pdf": "PDFs"}


def _media_type(part: Image | Pdf, limits: MediaLimits) -> str | None:
    source = part.source
    found = _by_beginning(source) if isinstance(source, bytes) else _by_ending(source)
    if isinstance(part, Pdf):
        if isinstance(source, bytes) and found != PDF:
            what = f"are {found}" if found else "do not begin like one (%PDF-)"
            raise PartError(f"the bytes given as a PDF ({len(source):,}) {what}; give a PDF's own")
        return PDF
    given = part.media_type.lower() if part.media_type is not None else None
    if isinstance(source, bytes) and found is not None and given not in (None, found):
        raise PartError(f"the image {shown(source)} is {found}, not {given}; leave its media type out")
    media_type = given or found
    if media_type is None:
        if isinstance(source, str) and not limits.typed_addresses:
            return None
        cure = "give its media type, `image/png` say" if isinstance(source, str) else "is it whole?"
        raise PartError(f"the media type of the image {shown(source)} is not known: {cure}")
    if media_type == PDF:
        raise PartError(f"the image {shown(source)} is a PDF; give it as one")
    if media_type not in limits.image_types:
        known = ", ".join(sorted(each.removeprefix("image/") for each in limits.image_types))
        raise PartError(f"the image {shown(source)} is {media_type}, and {limits.name} take {known}: convert it")
    return media_type


def _by_beginning(data: bytes) -> str | None:
    for pattern, media_type in _BEGINNINGS:
        if pattern.match(data):
            return media_type
    return PDF if b"%PDF-" in data[:_PDF_WITHIN] else None


def _by_ending(address: str) -> str | None:
    name = urlsplit(address).path.rpartition("/")[2]
    return _SUFFIXES.get(name.rpartition(".")[2].lower()) if "." in name else None


def _check_size(kind: str, data: bytes, limits: MediaLimits) -> None:
    most = limits.max_image_bytes if kind == "image" else limits.max_pdf_bytes
    if len(data) > most:
        cure = "make it smaller, or give its address" if kind == "image" else "split it, or give its address"
        raise PartError(f"the {kind} has {len(data):,} bytes, and {limits.name} take {most:,}: {cure}")


def _pages(source: str | bytes) -> int:
    if isinstance(source, str):
        return URL_PAGES
    pages = len(_PAGE.findall(source))
    if not pages:  # the objects of newer PDFs are compressed; the count of the page tree may stand outside
        pages = max((int(count[:6]) for count in _COUNT.findall(source)), default=0)
    return pages or URL_PAGES
