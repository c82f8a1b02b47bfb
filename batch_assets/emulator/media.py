"""Images and PDFs in requests: whether the bytes are what they are said to be, and how large they are."""

import base64
import binascii
import re
import struct
from collections.abc import Collection
from typing import Any

PDF = "application/pdf"
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
)
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_PAGE = re.compile(rb"/Type\s*/Page\b")
_UNSEEN_PIXELS = 1024 * 1024  # of an image that is not here, or whose header is not read
_UNSEEN_PAGES = 2


class Unreadable(Exception):
    """It is not what it is said to be; the words say what it is."""


def decode(data: Any) -> bytes:
    """The bytes of base64. Raises Unreadable."""
    try:
        found = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise Unreadable("invalid base64 data")
    return found


def sniff(data: bytes) -> str:
    """The media type that the first bytes tell; empty where they tell none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return {b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}.get(data[8:12], "")
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")


def checked(data: Any, media_type: str, accepted: Collection[str]) -> bytes:
    """The bytes of base64 of a media type that is accepted and true. Raises Unreadable."""
    if media_type not in accepted:
        raise Unreadable(f"unsupported media type {media_type!r}")
    found = decode(data)
    if sniff(found) != media_type:
        raise Unreadable(f"specified as {media_type}, but it appears to be {sniff(found) or 'something else'}")
    return found


def from_data_url(url: str, accepted: Collection[str]) -> bytes:
    """The bytes of a `data:` URL. Raises Unreadable."""
    found = _DATA_URL.match(url)
    if found is None:
        raise Unreadable("a data URL has to begin with data:<media type>;base64,")
    return checked(url[found.end() :], found[1].lower(), accepted)


def at_url(url: Any, accepted: Collection[str], schemes: Collection[str] = ("http", "https")) -> bytes | None:
    """The bytes of a `data:` URL; None for an address with one of the schemes. Raises Unreadable."""
    if not isinstance(url, str):
        raise Unreadable("expected a URL")
    if url.startswith("data:"):
        return from_data_url(url, accepted)
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in schemes or not rest:
        raise Unreadable(f"a URL has to begin with {' or '.join(f'{each}://' for each in schemes)}")
    return None


def pages(data: bytes | None) -> int:
    """Pages of a PDF, as far as they can be counted, at least one; assumed where it is behind an address."""
    return _UNSEEN_PAGES if data is None else max(1, len(_PAGE.findall(data)))


def pixels(data: bytes | None) -> int:
    """Pixels of an image; assumed where it is behind an address."""
    if data is None:
        return _UNSEEN_PIXELS
    if data.startswith(b"\x89PNG") and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return int(width * height)
    if data.startswith(b"GIF8") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return int(width * height)
    return _UNSEEN_PIXELS
