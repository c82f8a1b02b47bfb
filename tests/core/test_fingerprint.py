"""Golden values pin the scheme: a change of one of them buys every cached request of every user again."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.fingerprint import CUSTOM_ID_LENGTH, Fingerprinter, custom_ids, decode, halves, shard_id
from batch_assets.records import Request

PLAIN = Request(model="gpt-5-mini")
FULL = Request(
    model="gpt-5-mini",
    endpoint="responses",
    system="Be brief.",
    json_schema={"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}},
    max_output_tokens=200,
    params={"temperature": 0, "seed": 7},
)
HELLO = orjson.dumps("Hello, wörld \n 🙂")


def fingerprint(request: Request, content: bytes = HELLO, *, vendor: str = "openai", host: str | None = None) -> str:
    return Fingerprinter(request, vendor=vendor, host=host).of([content]).tobytes().hex()


def test_golden_values() -> None:
    assert fingerprint(PLAIN) == "aeb4ab184c300ecfd95fcef0389abc8d4d71f36a9544b2de1b0ab958db2f9e80"
    assert fingerprint(FULL) == "8c0562df24491a7210587be272304c3cf0f7a1d8a182c834dad51788f0997859"
    assert (
        fingerprint(FULL, vendor="mistral", host="gateway:8080")
        == "d18f121c1a8949bc2749229c764de538532c90f9fba1037203747048982eb371"
    )


def test_golden_custom_ids() -> None:
    prints = Fingerprinter(FULL, vendor="openai", host=None).of([HELLO])
    assert custom_ids("abcdefghij", prints) == ["abcdefghij-rqcwfxzejenheecypprhemcmhtyppioyugbmqng22ulyr4ezpbmq"]
    assert shard_id("store", "default", "asset", "", True, 1, "draft", 0) == "5im6xtxcd3"


def test_a_fingerprint_is_the_sha256_of_one_line_of_facts_and_the_content() -> None:
    facts = {
        "scheme": 1,
        "vendor": "openai",
        "host": None,
        "endpoint": "chat",
        "model": "gpt-5-mini",
        "params": {},
        "max_output_tokens": None,
        "schema": "null",
        "system": None,
    }
    line = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS) + b"\n"
    assert fingerprint(PLAIN) == hashlib.sha256(line + HELLO).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "gpt-5"},
        {"endpoint": "chat"},
        {"system": "Be brief. "},
        {"system": None},
        {"max_output_tokens": 201},
        {"params": {"temperature": 0}},
        {"params": {"temperature": 0, "seed": 8}},
        {"json_schema": None},
        # the order of the fields is the order in which a model thinks
        {"json_schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}},
    ],
)
def test_everything_that_decides_a_response_changes_it(change: dict[str, Any]) -> None:
    assert fingerprint(replace(FULL, **change)) != fingerprint(FULL)


def test_what_decides_no_response_does_not_change_it() -> None:
    assert fingerprint(replace(FULL, schema_name="another")) == fingerprint(FULL)
    assert fingerprint(replace(FULL, params={"seed": 7, "temperature": 0})) == fingerprint(FULL)


def test_vendor_host_and_content_change_it() -> None:
    found = {
        fingerprint(FULL),
        fingerprint(FULL, vendor="azure"),
        fingerprint(FULL, host="a"),
        fingerprint(FULL, host="b"),
        fingerprint(FULL, orjson.dumps("Hello")),
    }
    assert len(found) == 5


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=50))
def test_custom_ids_are_base32_and_can_be_read_back(raw: list[bytes]) -> None:
    prints = np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(len(raw), 32)
    ids = custom_ids("abcdefghij", prints)
    assert {len(one) for one in ids} == {CUSTOM_ID_LENGTH}
    assert ids == ["abcdefghij-" + base64.b32encode(one).decode().rstrip("=").lower() for one in raw]
    ours, back = decode("abcdefghij", ids)
    assert ours.all()
    assert (back == prints).all()
    high, low = halves(prints)
    assert [int(one) for one in high] == [int.from_bytes(one[:8], "big") for one in raw]
    assert [int(one) for one in low] == [int.from_bytes(one[8:16], "big") for one in raw]


GOOD = custom_ids("abcdefghij", np.arange(32, dtype=np.uint8).reshape(1, 32))[0]


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "row-1",
        GOOD[:-1],
        GOOD + "a",
        GOOD.upper(),
        "bbcdefghij" + GOOD[10:],
        GOOD[:20] + "1" + GOOD[21:],
        GOOD[:20] + "ü" + GOOD[21:],
        GOOD[:-1] + chr(ord(GOOD[-1]) + 1),  # a letter that says the same in the bits that count
        GOOD.replace("-", "_"),
        "\ud800" * 63,
        "🙂" * 63,
    ],
)
def test_a_custom_id_that_is_not_exactly_ours_is_foreign(foreign: str) -> None:
    ours, prints = decode("abcdefghij", [GOOD, foreign])
    assert ours.tolist() == [True, False]
    assert not prints[1].any()


@given(st.lists(st.text(max_size=80), max_size=20))
def test_any_text_can_be_looked_at(ids: list[str]) -> None:
    ours, prints = decode("abcdefghij", ids)
    assert ours.tolist() == [False] * len(ids)
    assert prints.shape == (len(ids), 32)


def test_shard_ids_differ_by_every_part() -> None:
    ids = {shard_id("a", 1), shard_id("a", 2), shard_id("a1"), shard_id("b", 1), shard_id("a", "1")}
    assert len(ids) == 5
    assert {len(one) for one in ids} == {10}
