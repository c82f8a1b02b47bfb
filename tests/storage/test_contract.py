"""Both stores keep the contract; what is special about a folder."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from store_contract import KEYS, StoreContract, race

from batch_assets.emulator import Emulator
from batch_assets.encoding import encode_key
from batch_assets.errors import StoreError
from batch_assets.storage.gcs import GCSStore
from batch_assets.storage.local import LocalStore


class TestFolder(StoreContract):
    """A local folder."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "store")

    def test_of_many_processes_one_wins(self, store: LocalStore) -> None:
        context = multiprocessing.get_context("spawn")
        starting, won = context.Barrier(3), context.Queue()
        racers = [context.Process(target=race, args=(store.url, number, starting, won)) for number in range(3)]
        for process in racers:
            process.start()
        names = [name for _ in racers for name in won.get(timeout=90)]
        for process in racers:
            process.join()
        assert sorted(names) == list(range(30))
        texts = {store.read(f"race/{name:03}") for name in range(30)}
        assert texts <= {f"writer {number}".encode() * 100 for number in range(3)}


# The client does not close the connection of a download that was refused.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
class TestGoogleCloudStorage(StoreContract):
    """A bucket, at the emulator."""

    @pytest.fixture
    def store(self, batch_emulator: Emulator) -> Iterator[GCSStore]:
        with storage.Client(project="project", credentials=AnonymousCredentials()) as client:
            yield GCSStore("bucket", "prefix", client)


def test_keys_have_different_names() -> None:
    keys = [*KEYS, "x" * 301, "a/b", "a%2Fb", "A", "%none", "漢" * 301]
    assert len({encode_key(key) for key in keys}) == len(set(keys))
    assert max(len(encode_key(key)) for key in keys) <= 180
    assert "%none" not in {encode_key(key) for key in keys}


def test_names_of_keys_are_for_good() -> None:
    """What is written once has to be found for years."""
    assert encode_key("2026-11-24") == "2026-11-24"
    assert encode_key("team/queries") == "team%2Fqueries"
    assert encode_key("a b|é") == "a b%7C%C3%A9"
    assert encode_key("..") == "%2E."
    assert encode_key("") == "%~e3b0c44298fc1c149afbf4c8996fb924"
    assert encode_key("y" * 200) == f"{'y' * 140}%~8ca9bfd43d61bf0ab214f1b75fb13747"


@pytest.mark.parametrize("root", ["file/below", "/proc/nowhere/store"])
def test_a_root_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=f"{root} cannot be written .*set `root` to a folder"):
        LocalStore(tmp_path / root)


def test_a_root_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalStore("~/store").url == f"{tmp_path}/store"


def test_a_store_that_is_a_copy_works_on(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "one")
    store.write_new("a/b", b"x")
    (tmp_path / "one").rename(tmp_path / "two")
    assert LocalStore(tmp_path / "two").read("a/b") == b"x"
    with pytest.raises(StoreError, match=r"a/c in .*one"):
        store.write_new("a/c", b"x")
    with pytest.raises(StoreError, match=r"a/c in .*one"), store.create("a/c"):
        pass
    with pytest.raises(StoreError, match=r"one"):
        store.now()


def test_an_object_is_no_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write_new("a", b"x")
    with pytest.raises(StoreError, match="a/b"):
        store.write_new("a/b", b"x")
    with pytest.raises(StoreError, match="folder"):
        store.write_new("folder/x", b"x")
        store.read("folder")


FULL_DISK = """
import resource, signal, sys
from batch_assets.errors import StoreError
from batch_assets.storage.local import LocalStore

store = LocalStore(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
assert store.write_new("small", b"x" * 1000)
try:
    store.write_new("new", b"x" * 1_000_000)
except StoreError as error:
    print(error.path, "|", error)
try:
    with store.create("large") as stream:
        for _ in range(50):
            stream.write(b"x" * 1_000_000)
except StoreError as error:
    print(error.path, "|", error)
"""


def test_a_full_disk_is_a_named_error_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    new, large = done.stdout.splitlines()
    assert new.startswith("new | new in ")
    assert large.startswith("large | large in ")
    assert "File too large" in new
    assert [entry.path for entry in LocalStore(tmp_path / "store").list("")] == ["small"]
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []
