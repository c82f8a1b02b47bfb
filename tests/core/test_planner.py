"""Rows to requests to shards: numbering, folding, plan_id, row keys, limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.content_hash import HASHED_ROWS, ContentHash
from batch_assets.errors import InputError
from batch_assets.fingerprint import Fingerprinter
from batch_assets.planner import (
    BATCH_BYTES,
    HashIndex,
    PlannedBatch,
    Planner,
    ShardCutter,
    first_occurrences,
    in_batches,
)
from batch_assets.prompts import Prompt
from batch_assets.records import Request

Rows = list[tuple[str, str | None]]
TEXTS = st.none() | st.sampled_from(["", "x", "aa", "ab", "ä", "🙂\n"]) | st.text(max_size=5)


def table(rows: Rows) -> pa.Table:
    ids, texts = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})


def planner(template: str = "{{ text }}", *, max_content_bytes: int = 1000) -> Planner:
    fingerprinter = Fingerprinter(Request(model="m"), vendor="openai", host=None)
    return Planner(
        prompt=Prompt(template), fingerprinter=fingerprinter, row_key="id", max_content_bytes=max_content_bytes
    )


def planned(rows: Rows, chunk: int = 1000) -> tuple[str, list[PlannedBatch], Planner]:
    one = planner()
    batches = [one.add(batch) for batch in in_batches(iter(table(rows).to_batches(max_chunksize=chunk)))]
    return one.finish(), batches, one


def keyed(texts: list[str | None]) -> Rows:
    return [(f"k{number}", text) for number, text in enumerate(texts)]


# -- requests -------------------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, max_size=40))
def test_rows_with_one_text_share_one_request_numbered_by_first_occurrence(texts: list[str | None]) -> None:
    _, batches, one = planned(keyed(texts))
    numbers: dict[str, int] = {}
    expected = [numbers.setdefault(text, len(numbers)) if text and text.strip() else -1 for text in texts]
    assert [number for batch in batches for number in batch.requests.tolist()] == expected
    assert [content for batch in batches for content in batch.contents.to_pylist()] == [
        orjson.dumps(text) for text in numbers
    ]
    assert (one.rows, one.requests, one.unrenderable) == (len(texts), len(numbers), expected.count(-1))


def test_numbering_goes_on_over_batches() -> None:
    one = planner()
    rows = table([("a", "x"), ("b", "y"), ("c", "x"), ("d", "z"), ("e", "y"), ("f", "w")])
    first, second = (one.add(batch) for batch in rows.to_batches(max_chunksize=3))
    assert first.requests.tolist() == [0, 1, 0]
    assert (first.first, first.contents.to_pylist()) == (0, [b'"x"', b'"y"'])
    assert second.requests.tolist() == [2, 1, 3]
    assert (second.first, second.contents.to_pylist()) == (2, [b'"z"', b'"w"'])


def test_a_row_above_the_limit_has_no_request_and_says_why() -> None:
    one = planner(max_content_bytes=10)
    batch = one.add(table([("a", "x" * 8), ("b", "x" * 9), ("c", None)]).to_batches()[0])
    assert batch.requests.tolist() == [0, -1, -1]
    assert batch.errors[1] == "the prompt has 11 bytes, and the provider takes 10 at most"
    assert "'text' is null" in batch.errors[2]


@given(st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=12))
def test_an_index_finds_what_was_added_whenever_it_was(parts: list[list[int]]) -> None:
    index, numbers, start = HashIndex(), {}, 0
    for part in parts:
        high = np.array([value * 2**57 for value in part], dtype=np.uint64)
        low = np.array(part, dtype=np.uint64)
        found, new = first_occurrences(index, high, low, start)
        expected = [numbers.setdefault(value, len(numbers)) for value in part]
        assert found.tolist() == expected
        assert [part[place] for place in new] == list(numbers)[start:]
        start = len(numbers)


# -- plan_id --------------------------------------------------------------------------------------------------------

ROWS = keyed([f"text {number % 700}" if number % 97 else None for number in range(2000)])


@pytest.mark.parametrize("chunk", [1, 7, 255, 256, 257, 1000, 1999])
def test_plan_id_and_requests_do_not_depend_on_the_batches_of_the_source(chunk: int) -> None:
    def numbers(batches: list[PlannedBatch]) -> list[int]:
        return [number for batch in batches for number in batch.requests.tolist()]

    whole_id, whole, _ = planned(ROWS, 2000)
    plan_id, batches, _ = planned(ROWS, chunk)
    assert plan_id == whole_id
    assert numbers(batches) == numbers(whole)


def test_plan_id_does_not_depend_on_how_many_rows_are_worked_on_at_a_time() -> None:
    def identity(size: int) -> str:
        one = planner()
        for batch in table(ROWS).to_batches(max_chunksize=size):
            one.add(batch)
        return one.finish()

    assert len({identity(size) for size in (256, 512, 1024, 2000)}) == 1


@given(st.lists(TEXTS, min_size=1, max_size=12), st.data())
def test_any_change_of_a_text_or_a_key_changes_plan_id(texts: list[str | None], data: st.DataObject) -> None:
    rows = keyed(texts)
    at = data.draw(st.integers(0, len(rows) - 1))
    text = data.draw(TEXTS.filter(lambda one: _content(one) != _content(rows[at][1])))
    key = data.draw(st.text(max_size=4).filter(lambda one: not one.startswith("k")))
    before = planned(rows)[0]
    assert planned([*rows[:at], (rows[at][0], text), *rows[at + 1 :]])[0] != before
    assert planned([*rows[:at], (key, rows[at][1]), *rows[at + 1 :]])[0] != before
    assert planned(rows[:-1])[0] != before
    if _content(rows[0][1]) != _content(rows[-1][1]) or rows[0][0] != rows[-1][0]:
        assert planned(rows[::-1])[0] != before


def _content(text: str | None) -> str | None:
    """Null and blank texts are alike: they have no request."""
    return text if text and text.strip() else None


def test_keys_are_told_apart_by_where_they_end() -> None:
    assert planned([("ab", "x"), ("c", "x")])[0] != planned([("a", "x"), ("bc", "x")])[0]


def test_golden_plan_id() -> None:
    """A change of it re-lands every table once, and buys nothing."""
    assert (
        planned([("a", "x"), ("b", "y"), ("c", "x"), ("d", None)])[0]
        == "3542862e48431be7234c7e41153dc9c2317f3fa65212786e8a0739424802848c"
    )


# -- row keys -------------------------------------------------------------------------------------------------------


def key_error(keys: pa.Array, chunk: int = 1000) -> str:
    one = planner()
    rows = pa.table({"id": keys, "text": pa.array(["x"] * len(keys))})
    with pytest.raises(InputError) as caught:
        for batch in rows.to_batches(max_chunksize=chunk):
            one.add(batch)
        one.finish()
    return str(caught.value)


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_the_first_offenders_are_named_and_all_are_counted(chunk: int) -> None:
    said = key_error(pa.array(["a", None, "b", "a", None, "b", "a"]), chunk)
    assert "the row key 'id' must be unique and not null" in said
    assert "2 rows have no key (row 1, 4)" in said
    assert "3 rows repeat another row's key ('a' in rows 0 and 3, 'b' in rows 2 and 5, 'a' in rows 0 and 6)" in said
    assert "Nothing was sent" in said


@pytest.mark.parametrize("chunk", [300, 4000])
def test_many_offenders_are_not_all_named(chunk: int) -> None:
    said = key_error(pa.array([None] * 1000 + ["a"] * 2001), chunk)
    assert "1,000 rows have no key (row 0, 1, 2, 3, 4 and 995 more)" in said
    assert "2,000 rows repeat another row's key" in said
    assert "'a' in rows 1000 and 1005 and 1,995 more" in said


@given(st.lists(st.none() | st.integers(0, 12), max_size=30), st.integers(1, 9))
def test_good_keys_pass_and_bad_ones_do_not(keys: list[int | None], chunk: int) -> None:
    column = pa.array(keys, pa.int64())
    if None in keys or len(set(keys)) < len(keys):
        said = key_error(column, chunk)
        assert (f"{keys.count(None)} rows have no key" in said) == (None in keys)
        present = [key for key in keys if key is not None]
        repeats = len(present) - len(set(present))
        assert (f"{repeats} rows repeat" in said) == bool(repeats)
    else:
        one = planner()
        for batch in pa.table({"id": column, "text": ["x"] * len(keys)}).to_batches(max_chunksize=chunk):
            one.add(batch)
        assert one.finish()


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([1, 2], pa.int8()),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array([0, 1], pa.date32()),
        pa.array([b"a", b"b"]),
        pa.array([0, 86_400], pa.timestamp("s", tz="UTC")),
    ],
)
def test_types_of_keys(keys: pa.Array) -> None:
    one = planner()
    one.add(pa.table({"id": keys, "text": ["x", "y"]}).to_batches()[0])
    assert one.finish()


@pytest.mark.parametrize("keys", [pa.array([[1], [2]]), pa.array([{"a": 1}]), pa.array([b"\xff\xfe"])])
def test_a_key_that_has_no_single_text_is_refused(keys: pa.Array) -> None:
    assert "which cannot be a key" in key_error(keys)


# -- batches of rows ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 900), max_size=12))
def test_batches_hold_the_same_rows_in_multiples_of_what_is_hashed(sizes: list[int]) -> None:
    numbers = pa.table({"n": pa.array(range(sum(sizes)), pa.int64())})
    starts = itertools.accumulate(sizes, initial=0)
    source = [
        pa.RecordBatch.from_arrays([numbers.slice(start, size)["n"].combine_chunks()], ["n"])
        for start, size in zip(starts, sizes, strict=False)
    ]
    found = list(in_batches(iter(source)))
    assert [value for batch in found for value in batch.column(0).to_pylist()] == list(range(sum(sizes)))
    assert all(batch.num_rows % HASHED_ROWS == 0 for batch in found[:-1])
    assert all(batch.num_rows for batch in found)


def test_long_rows_come_in_small_batches_even_after_short_ones() -> None:
    long = "x" * 143_000

    def source() -> Iterator[pa.RecordBatch]:
        yield from table([(f"s{number}", "short") for number in range(300)]).to_batches()
        for part in range(8):
            yield from table([(f"l{part}-{number}", long) for number in range(100)]).to_batches()

    sizes = [batch.nbytes for batch in in_batches(source())]
    assert sum(sizes) > 800 * 143_000
    assert max(sizes) < BATCH_BYTES + 2 * 143_200


COLUMNS = {
    "flag": pa.array([True, None, False] * 200),
    "number": pa.array([1, None, 3] * 200),
    "text": pa.array(["a", None, "ccc"] * 200),
    "list": pa.array([[1, 2], None, []] * 200),
    "struct": pa.array([{"a": "x", "b": [1]}, None, {"a": None, "b": None}] * 200),
    "label": pa.array(["a", "b", None] * 200).dictionary_encode(),
    "day": pa.array([1, None, 3] * 200, pa.date32()),
    "moment": pa.array([1, None, 3] * 200, pa.timestamp("us", tz="UTC")),
    "price": pa.array([Decimal("1.10"), None, Decimal("-3.00")] * 200),
    "bytes": pa.array([b"a", None, b""] * 200, pa.large_binary()),
    "digest": pa.array([b"ab", None, b"cd"] * 200, pa.binary(2)),
    "pair": pa.array([[1, 2], None, [3, 4]] * 200, pa.list_(pa.int8(), 2)),
    "map": pa.array([[("a", 1)], None, []] * 200, pa.map_(pa.string(), pa.int8())),
    "view": pa.array(["a", None, "long enough not to be inlined"] * 200, pa.string_view()),
    "list of labels": pa.array([["a"], None, ["b", "a"]] * 200, pa.list_(pa.dictionary(pa.int8(), pa.string()))),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_hash_of_a_snapshot_depends_on_its_values_alone(name: str) -> None:
    whole = pa.table({name: COLUMNS[name]})
    shifted = pa.concat_tables([whole.slice(0, 3), whole, whole.slice(0, 3)]).combine_chunks().slice(3, 600)
    assert shifted.equals(whole)
    found = set()
    for source in (whole, shifted):
        for chunk in (1, 100, 256, 600):
            content = ContentHash(source.schema)
            for batch in source.to_batches(max_chunksize=chunk):
                content.add(batch)
            found.add(content.hexdigest())
    assert len(found) == 1


@pytest.mark.parametrize("name", COLUMNS)
def test_the_hash_of_a_snapshot_changes_with_any_value(name: str) -> None:
    whole = pa.table({name: COLUMNS[name]})
    hashes = set()
    for source in (whole, whole.slice(1), whole.slice(0, 599), pa.concat_tables([whole.slice(1), whole.slice(0, 1)])):
        content = ContentHash(source.schema)
        for batch in in_batches(iter(source.to_batches())):
            content.add(batch)
        hashes.add(content.hexdigest())
    assert len(hashes) == 4


# -- shards ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(1, 50), max_size=12), max_size=8),
    st.integers(1, 10),
    st.integers(60, 200),
    st.integers(0, 10),
)
def test_shards_keep_the_order_and_never_exceed_a_limit(
    batches: list[list[int]], max_requests: int, max_bytes: int, overhead: int
) -> None:
    cutter = ShardCutter(max_requests, max_bytes, overhead)
    shards: list[list[int]] = []
    for sizes in batches:
        at = 0
        for start, stop, fresh in cutter.cut(np.array(sizes, dtype=np.int64)):
            assert (start, start < stop) == (at, True)
            if fresh:
                shards.append([])
            shards[-1] += sizes[start:stop]
            at = stop
        assert at == len(sizes)
    assert list(itertools.chain(*shards)) == list(itertools.chain(*batches))
    for number, shard in enumerate(shards):
        weight = sum(shard) + overhead * len(shard)
        assert len(shard) <= max_requests
        assert weight <= max_bytes
        if number + 1 < len(shards):  # none is closed while the next request would fit
            follows = shards[number + 1][0] + overhead
            assert len(shard) == max_requests or weight + follows > max_bytes


def test_a_shard_is_filled_to_exactly_its_limits() -> None:
    by_count = ShardCutter(3, 10**6, 0)
    assert list(by_count.cut(np.array([1] * 6))) == [(0, 3, True), (3, 6, True)]
    by_bytes = ShardCutter(10**6, 100, 10)
    assert list(by_bytes.cut(np.array([40, 40, 40, 40]))) == [(0, 2, True), (2, 4, True)]
    by_bytes = ShardCutter(10**6, 99, 10)
    assert [fresh for _, _, fresh in by_bytes.cut(np.array([40, 40]))] == [True, True]


def test_a_request_larger_than_a_whole_batch_is_an_error() -> None:
    with pytest.raises(InputError, match="a request of 101 bytes"):
        list(ShardCutter(10, 100, 1).cut(np.array([100])))
