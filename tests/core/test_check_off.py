"""Whatever lines a download holds, a result only ever reaches its own request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.engine.check_off import CheckOff
from batch_assets.fingerprint import custom_ids

SHARD = "abcdefghij"


def fingerprints(count: int, salt: str = "") -> np.ndarray:
    raw = b"".join(hashlib.sha256(f"{salt}{number}".encode()).digest() for number in range(count))
    return np.frombuffer(raw, dtype=np.uint8).reshape(count, 32)


@dataclass
class Download:
    """Lines as a provider sends them: what stands in each, and what the engine reads as its custom_id."""

    lines: list[bytes]
    ids: list[str | None]

    def check(self, prints: np.ndarray, chunk: int) -> CheckOff:
        checked = CheckOff(fingerprints=prints, shard_id=SHARD)
        start = 0
        for at in range(0, len(self.lines), chunk):
            lengths = [len(line) for line in self.lines[at : at + chunk]]
            start = checked.add(self.ids[at : at + chunk], lengths, start)
        return checked


@st.composite
def downloads(draw: st.DrawFn) -> tuple[np.ndarray, Download]:
    count = draw(st.integers(1, 20))
    prints = fingerprints(count)
    own = custom_ids(SHARD, prints)
    foreign = [
        *custom_ids(SHARD, fingerprints(3, "other")),
        *custom_ids("zzzzzzzzzz", prints),
        "row-1",
        "",
        *(one[:-1] for one in own),
        *(f"{one}x" for one in own),
    ]
    kind = st.one_of(
        st.sampled_from([("own", one) for one in own]),
        st.sampled_from([("foreign", one) for one in foreign]),
        st.just(("garbled", "")),
    )
    drawn = draw(st.lists(kind, max_size=60))
    if draw(st.booleans()):
        drawn = [*drawn, *(("own", one) for one in own)]
        drawn = draw(st.permutations(drawn))
    lines, ids = [], []
    for number, (what, custom_id) in enumerate(drawn):
        lines.append(f"{what}|{custom_id}|{number}".encode())
        ids.append(None if what == "garbled" else custom_id)
    return prints, Download(lines=lines, ids=ids)


@given(downloads(), st.integers(1, 7))
def test_no_line_moves_a_result_to_another_request(case: tuple[np.ndarray, Download], chunk: int) -> None:
    prints, download = case
    checked = download.check(prints, chunk)
    text = b"".join(line + b"\n" for line in download.lines)
    own = custom_ids(SHARD, prints)
    first = {}
    for line, custom_id in zip(download.lines, download.ids, strict=True):
        if custom_id in own:
            first.setdefault(custom_id, line)
    for place, custom_id in enumerate(own):
        offset, length = int(checked.offsets[place]), int(checked.lengths[place])
        found = text[offset : offset + length] if offset >= 0 else None
        assert found == first.get(custom_id)
    assert checked.answered == len(first)


@given(downloads(), st.integers(1, 7))
def test_every_line_is_counted_once(case: tuple[np.ndarray, Download], chunk: int) -> None:
    prints, download = case
    checked = download.check(prints, chunk)
    own = set(custom_ids(SHARD, prints))
    garbled = sum(one is None for one in download.ids)
    ours = sum(one in own for one in download.ids)
    assert checked.garbled == garbled
    assert checked.foreign == len(download.ids) - garbled - ours
    assert checked.duplicates == ours - checked.answered
