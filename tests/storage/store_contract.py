"""What every store must do. A test class per store inherits `StoreContract` and gives it the fixture `store`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest

from batch_assets.encoding import encode_key
from batch_assets.errors import StoreError
from batch_assets.storage.local import LocalStore
from batch_assets.storage.protocol import ObjectStore

KEYS = [
    "plain",
    "with space",
    "a/b/c",
    "/leading",
    "trailing/",
    "..",
    ".",
    "../../escape",
    ".tmp",
    ".hidden",
    "2026-11-24|eu",
    "per%cent%2F",
    "émoji 🙂 漢字",
    "new\nline\ttab\x00nul",
    "x" * 300,
    "漢" * 300,
    "a/" * 150,
    "CON",
    "back\\slash",
    "~",
    "",
]
"""Partition and asset keys that people and attackers write."""


def race(url: str, number: int, starting: Any, won: Any) -> None:
    """One of several processes that want the same names in a folder."""
    store = LocalStore(url)
    starting.wait(60)
    won.put([name for name in range(30) if store.write_new(f"race/{name:03}", f"writer {number}".encode() * 100)])


class StoreContract:
    """Inherit it, and give it a fixture `store`."""

    # -- reading and writing

    def test_what_was_written_is_read(self, store: ObjectStore) -> None:
        for data in (b"", b"x", bytes(range(256)) * 5000):
            path = f"a/b/{len(data)}.bin"
            assert store.write_new(path, data) is True
            assert store.read(path) == data

    def test_what_is_not_there_is_named(self, store: ObjectStore) -> None:
        for path in ("nothing", "no/such/folder/nothing"):
            with pytest.raises(FileNotFoundError, match=path):
                store.read(path)
            with pytest.raises(FileNotFoundError, match=path), store.fetch(path):
                pass

    def test_an_object_is_created_once_and_never_changed(self, store: ObjectStore) -> None:
        assert store.write_new("a", b"first") is True
        assert store.write_new("a", b"second") is False
        with pytest.raises(StoreError, match="a exists already"), store.create("a") as stream:
            stream.write(b"third")
        assert store.read("a") == b"first"

    def test_a_deleted_name_can_be_created_again(self, store: ObjectStore) -> None:
        store.write_new("a/b", b"first")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        with pytest.raises(FileNotFoundError):
            store.read("a/b")
        assert store.write_new("a/b", b"second") is True

    def test_a_stream_is_written_and_fetched(self, store: ObjectStore) -> None:
        with store.create("large") as stream:
            for number in range(300):
                stream.write(number.to_bytes(2, "big") * 10_000)
        with store.fetch("large") as file:
            data = file.read_bytes()
        assert len(data) == 300 * 20_000
        assert data[-2:] == (299).to_bytes(2, "big")
        (entry,) = store.list("")
        assert (entry.path, entry.size_bytes) == ("large", len(data))

    def test_the_block_may_close_the_stream_itself(self, store: ObjectStore) -> None:
        with store.create("a") as stream:
            stream.write(b"x")
            stream.close()
        assert store.read("a") == b"x"

    # -- whole or not at all

    def test_a_stream_is_not_there_before_its_end(self, store: ObjectStore) -> None:
        with store.create("a/large") as stream:
            stream.write(b"x" * 3_000_000)
            stream.flush()
            assert list(store.list("")) == []
            with pytest.raises(FileNotFoundError):
                store.read("a/large")
        assert [entry.path for entry in store.list("")] == ["a/large"]

    @pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), KeyboardInterrupt("no")])
    def test_a_block_that_raises_leaves_nothing(self, store: ObjectStore, error: BaseException) -> None:
        def write() -> None:
            with store.create("a/large") as stream:
                stream.write(b"x" * 3_000_000)
                raise error

        with pytest.raises(type(error), match="no"):
            write()
        assert list(store.list("")) == []
        assert store.write_new("a/large", b"") is True

    def test_readers_never_see_a_part(self, store: ObjectStore) -> None:
        seen, over = set(), threading.Event()

        def look() -> None:
            while not over.is_set():
                for number in range(20):
                    try:
                        seen.add(len(store.read(f"part/{number}")))
                    except FileNotFoundError:
                        seen.add(0)

        reader = threading.Thread(target=look)
        reader.start()
        for number in range(20):
            store.write_new(f"part/{number}", b"x" * 100_000)
        over.set()
        reader.join()
        assert seen <= {0, 100_000}

    def test_of_many_writers_one_wins(self, store: ObjectStore) -> None:
        starting = threading.Barrier(6)

        def write(number: int) -> list[int]:
            starting.wait()
            return [name for name in range(15) if store.write_new(f"race/{name}", str(number).encode())]

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(write, range(6)))
        assert sorted(name for names in won for name in names) == list(range(15))
        for number, names in enumerate(won):
            assert {store.read(f"race/{name}") for name in names} <= {str(number).encode()}

    # -- listing

    def test_a_listing_is_of_one_folder_at_any_depth_in_the_order_of_the_paths(self, store: ObjectStore) -> None:
        names = ["a/b", "a/b-c", "a/b/c", "a/b.d", "a/é", "a/z/1/2", "ab/x", "a-b/x", "0"]
        files = [name for name in names if name != "a/b"]  # on a disk a name is a file or a folder
        for name in reversed(files):
            assert store.write_new(name, name.encode())
        assert [entry.path for entry in store.list("")] == sorted(files)
        assert [entry.path for entry in store.list("a")] == sorted(name for name in files if name.startswith("a/"))
        assert [entry.path for entry in store.list("a/b")] == ["a/b/c"]
        assert list(store.list("nothing")) == []
        assert list(store.list("a/é")) == []
        assert {entry.path: entry.size_bytes for entry in store.list("a")}["a/é"] == len("a/é".encode())

    def test_objects_that_go_while_they_are_listed_do_not_matter(self, store: ObjectStore) -> None:
        for number in range(10):
            store.write_new(f"a/{number}", b"")
        listing = store.list("a")
        assert next(listing).path == "a/0"
        store.delete("a/5")
        assert {f"a/{number}" for number in range(1, 10)} - {entry.path for entry in listing} <= {"a/5"}

    # -- clock

    def test_its_clock_is_that_of_its_objects(self, store: ObjectStore) -> None:
        before = store.now()
        time.sleep(0.02)
        store.write_new("a", b"")
        (entry,) = store.list("")
        after = store.now()
        assert before.tzinfo is not None
        assert before.utcoffset() == UTC.utcoffset(None)
        slack = timedelta(milliseconds=15)
        assert before - slack <= entry.created_at <= after + slack
        assert [entry.path for entry in store.list("")] == ["a"]  # reading the clock leaves nothing behind

    # -- names

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a/../x"])
    def test_a_path_that_leaves_the_store_is_refused(self, store: ObjectStore, path: str) -> None:
        with pytest.raises(StoreError, match="leaves the store"):
            store.write_new(path, b"")
        with pytest.raises(StoreError, match="leaves the store"):
            store.read(path)
        with pytest.raises(StoreError, match="leaves the store"):
            store.delete(path)
        assert list(store.list("")) == []

    @pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
    def test_an_encoded_key_is_one_name_that_the_store_takes(self, store: ObjectStore, key: str) -> None:
        path = f"folder/{encode_key(key)}/{encode_key(key)}.json"
        assert store.write_new(path, b"x")
        assert store.read(path) == b"x"
        assert [entry.path for entry in store.list("folder")] == [path]
        assert [entry.path for entry in store.list(f"folder/{encode_key(key)}")] == [path]
        assert path.count("/") == 2
