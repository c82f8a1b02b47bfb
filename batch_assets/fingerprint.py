"""Fingerprints of requests and the custom_ids made of them, a batch at a time.

A fingerprint is the sha256 of everything that decides a response: scheme version, vendor, host where model names are
local, endpoint, model, parameters, output schema, system text, content. A `custom_id` is the shard's 10 characters,
`-`, and 52 characters of lower-case base32 of the fingerprint: 63 in all, which every provider takes (the narrowest
rule known is Vertex's for label values, as of 2026-11). Changing either buys every cached request again: the golden
values in the tests are there to stop that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from batch_assets.records import Request

SCHEME = 1
SHARD_ID_LENGTH = 10
CUSTOM_ID_LENGTH = 63

_ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)
_PAIRS = np.stack([_ALPHABET.repeat(32), np.tile(_ALPHABET, 32)], axis=1).copy().view(np.uint16).reshape(1024)
_PAIR_SHIFTS = np.array([30, 20, 10, 0], dtype=np.uint64)
_PAIR_VALUES = np.full(1 << 16, 1024, dtype=np.uint16)
_PAIR_VALUES[_PAIRS] = np.arange(1024, dtype=np.uint16)


class Fingerprinter:
    """Fingerprints the requests of one plan: the constant part is hashed once."""

    def __init__(self, request: Request, *, vendor: str, host: str | None) -> None:
        constant = {
            "scheme": SCHEME,
            "vendor": vendor,
            "host": host,
            "endpoint": request.endpoint,
            "model": request.model,
            "params": request.params,
            "max_output_tokens": request.max_output_tokens,
            "schema": orjson.dumps(request.json_schema).decode(),  # the order of its fields counts
            "system": request.system,
        }
        self._head = hashlib.sha256(orjson.dumps(constant, option=orjson.OPT_SORT_KEYS) + b"\n")

    def of(self, contents: Iterable[bytes | memoryview]) -> NDArray[np.uint8]:
        """Fingerprints of contents (JSON literals): shape (number of contents, 32)."""
        head = self._head
        digests = bytearray()
        for content in contents:
            state = head.copy()
            state.update(content)
            digests += state.digest()
        return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, 32)


def halves(fingerprints: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first 128 bits of each fingerprint as two arrays of 64: what an index keeps of them."""
    words = np.ascontiguousarray(fingerprints[:, :16]).view(">u8").astype(np.uint64)
    return words[:, 0], words[:, 1]


def encode(fingerprints: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Lower-case base32 without padding, 52 characters each."""
    rows = len(fingerprints)
    padded = np.zeros((rows, 7, 8), dtype=np.uint8)
    padded[:, :, 3:] = np.pad(fingerprints, ((0, 0), (0, 3))).reshape(rows, 7, 5)
    groups = padded.view(">u8").astype(np.uint64)
    letters = _PAIRS[((groups >> _PAIR_SHIFTS) & np.uint64(1023)).astype(np.uint16)]
    return np.ascontiguousarray(letters.view(np.uint8).reshape(rows, 56)[:, :52]).view("S52").reshape(rows)


def custom_ids(shard_id: str, fingerprints: NDArray[np.uint8]) -> list[str]:
    """The wire ids of a shard's requests, in their order."""
    prefix = f"{shard_id}-"
    return [prefix + tail.decode("ascii") for tail in encode(fingerprints).tolist()]


def decode(shard_id: str, ids: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Read custom_ids back: which are of this shard and well formed, and the fingerprints (zeros where not)."""
    prefix = np.frombuffer(f"{shard_id}-".encode(), dtype=np.uint8)
    letters, ours = _letters(ids)
    ours &= (letters[:, : len(prefix)] == prefix).all(axis=1)
    tails = np.full((len(ids), 56), ord("a"), dtype=np.uint8)
    tails[:, :52] = letters[:, len(prefix) :]
    values = _PAIR_VALUES[tails.view(np.uint16)]
    ours &= (values < 1024).all(axis=1) & (values[:, 25] & 15 == 0)  # 52 characters hold 4 bits beyond a fingerprint
    groups = np.bitwise_or.reduce(values.astype(np.uint64).reshape(len(ids), 7, 4) << _PAIR_SHIFTS, axis=2)
    octets = groups.astype(">u8").view(np.uint8).reshape(len(ids), 7, 8)[:, :, 3:].reshape(len(ids), 35)[:, :32]
    return ours, np.where(ours[:, None], octets, np.uint8(0))


def _letters(ids: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The characters of custom_ids: shape (len(ids), CUSTOM_ID_LENGTH); and which have that length."""
    joined = "".join(ids)
    if joined.isascii() and all(len(one) == CUSTOM_ID_LENGTH for one in ids):
        letters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(len(ids), CUSTOM_ID_LENGTH)
        return letters, np.ones(len(ids), dtype=bool)
    width = CUSTOM_ID_LENGTH + 1
    raw = np.array([one.encode("utf-8", "replace")[:width] for one in ids], dtype=f"S{width}")
    letters = raw.view(np.uint8).reshape(len(ids), width)
    return letters[:, :CUSTOM_ID_LENGTH], letters[:, CUSTOM_ID_LENGTH] == 0


def shard_id(*parts: str | int) -> str:
    """10 characters of base32 (50 bits) that stand for where a shard comes from; unique in a store."""
    digest = hashlib.sha256(orjson.dumps(parts)).digest()
    text: bytes = encode(np.frombuffer(digest, dtype=np.uint8).reshape(1, 32))[0]
    return text.decode("ascii")[:SHARD_ID_LENGTH]
