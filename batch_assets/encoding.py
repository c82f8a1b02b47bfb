"""How records and keys look in the store: JSON with a format version, and names that cannot leave their folder."""

from __future__ import annotations

import hashlib
from typing import TypeVar
from urllib.parse import quote

import msgspec

from batch_assets.errors import CorruptObject, UnknownFormat
from batch_assets.records import FORMAT

Record = TypeVar("Record")

_UNPARTITIONED = "%none"
"""Folder of an asset without partitions; no encoded key can be equal to it."""
_LONGEST_NAME = 180
"""Characters of an encoded key: file systems take 255 bytes."""


def encode_key(key: str) -> str:
    """A key as one name that cannot leave its folder; keys that are too long for a file system end in their hash."""
    name = quote(key, safe=" +,=@")
    if name.startswith("."):  # `.`, `..`, hidden files, a store's scratch folder
        name = f"%2E{name[1:]}"
    if not name or len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        name = f"{name[: _LONGEST_NAME - 40]}%~{digest}"
    return name


def partition_folder(partition: str | None) -> str:
    """The folder of a partition, or of an asset without partitions."""
    return _UNPARTITIONED if partition is None else encode_key(partition)


def leaf(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def number_of(path: str, url: str) -> int:
    """The number that an object is named by. Raises CorruptObject for a foreign file among the numbered ones."""
    name = leaf(path).removesuffix(".json")
    if not name.isdecimal():
        raise CorruptObject(
            f"{path} in {url} is not an object of batch_assets; it was left as it is. Move it away", path=path
        )
    return int(name)


def encode(record: object) -> bytes:
    """A record as it is stored: JSON with one field a line."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


class _Versioned(msgspec.Struct):
    format: int


def decode(kind: type[Record], data: bytes, name: str) -> Record:
    """A stored record. Raises UnknownFormat if it is of a newer format, CorruptObject if it is not one of `kind`."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).format
        if version > FORMAT:
            raise UnknownFormat(
                f"{name} has format {version}, and this version of batch_assets reads up to {FORMAT}: upgrade "
                "batch_assets here, or point it at another store",
                path=name,
            )
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptObject(
            f"{name} is not a {kind.__name__} of batch_assets ({error}); it was left as it is. Restore it from a "
            "backup, or move it away if it is not ours",
            path=name,
        ) from error
