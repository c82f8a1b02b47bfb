"""The store on Google Cloud Storage: what only it does. Bucket and faults are the emulator's."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError, StoreError
from batch_assets.storage.gcs import GCSStore

# The client does not close the connection of a download that was refused.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(batch_emulator: Emulator) -> Iterator[storage.Client]:
    with storage.Client(project="project", credentials=AnonymousCredentials()) as client:
        yield client


@pytest.fixture
def store(client: storage.Client) -> GCSStore:
    return GCSStore("bucket", "folder/of", client)


def test_only_below_its_prefix(store: GCSStore, client: storage.Client) -> None:
    client.bucket("bucket").blob("folder/office/x").upload_from_string("not ours")
    assert store.write_new("a/x", b"1")
    assert [blob.name for blob in client.list_blobs("bucket")] == ["folder/of/a/x", "folder/office/x"]
    assert [entry.path for entry in store.list("")] == ["a/x"]
    assert [entry.path for entry in GCSStore("bucket", "", client).list("")] == ["folder/of/a/x", "folder/office/x"]
    with pytest.raises(StoreError, match="leaves the store"):
        store.read("../office/x")


def test_many_pages(store: GCSStore) -> None:
    names = [f"a/{number:05}" for number in range(1005)]  # a page has 1,000
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: store.write_new(name, b""), names))
    assert [entry.path for entry in store.list("a")] == names


def test_its_clock_is_the_buckets(store: GCSStore, batch_emulator: Emulator) -> None:
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)
    batch_emulator.advance(3600)
    store.write_new("a", b"")
    (entry,) = store.list("")
    age = store.now() - entry.created_at
    assert timedelta(seconds=-0.01) < age < timedelta(seconds=5)
    assert timedelta(minutes=59) < store.now() - datetime.now(UTC) < timedelta(minutes=61)
    first = store.now()
    time.sleep(0.05)
    assert store.now() - first >= timedelta(seconds=0.04)


# -- lost replies, refusals, cut streams ---------------------------------------------------------------------------


def test_a_small_write_whose_reply_is_lost_has_landed(store: GCSStore, batch_emulator: Emulator) -> None:
    batch_emulator.arm("accept_then_drop", operation="files.create", provider="gcs")
    assert not store.write_new("a", b"mine")  # repeated by the client, it met itself: the ledger reads it back
    assert store.read("a") == b"mine"


@pytest.mark.parametrize("size", [10, 9 << 20])
@pytest.mark.parametrize("after", [0, 1])
def test_a_large_write_knows_itself(store: GCSStore, batch_emulator: Emulator, size: int, after: int) -> None:
    batch_emulator.arm("accept_then_drop", operation="files.create", provider="gcs", after=after)
    with store.create("a") as stream:
        stream.write(b"x" * size)
    with store.create("b") as stream:
        stream.write(b"y")
    with store.fetch("a") as file:
        assert file.stat().st_size == size
    with pytest.raises(StoreError, match="a exists already"), store.create("a") as stream:
        stream.write(b"x" * size)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_bucket_is_asked_again(store: GCSStore, batch_emulator: Emulator, status: int) -> None:
    for operation in ("files.create", "files.content", "files.list", "files.delete"):
        batch_emulator.arm("refused", operation=operation, provider="gcs", status=status)
    assert store.write_new("a", b"1")
    assert store.read("a") == b"1"
    assert [entry.path for entry in store.list("")] == ["a"]
    store.delete("a")
    assert all(fault["fired"] == 1 for fault in batch_emulator.faults())


def test_a_cut_download_is_completed(store: GCSStore, batch_emulator: Emulator) -> None:
    content = bytes(range(256)) * 8192
    with store.create("a") as stream:
        stream.write(content)
    batch_emulator.arm("cut", provider="gcs", kind="any", after_bytes=1 << 20, times=2)
    with store.fetch("a") as file:
        assert file.read_bytes() == content


def test_a_dead_bucket_is_given_up_and_named(client: storage.Client, batch_emulator: Emulator) -> None:
    store = GCSStore("bucket", "folder", client, retry_seconds=0.5)
    batch_emulator.arm("refused", operation="*", provider="gcs", status=503, times=1000)
    with pytest.raises(StoreError, match="a in gs://bucket/folder cannot be read or written"):
        store.write_new("a", b"1")
    with pytest.raises(StoreError, match="a in gs://bucket/folder cannot be read or written"):
        store.read("a")


# -- one line says what is wrong -----------------------------------------------------------------------------------


def test_a_wrong_bucket(client: storage.Client) -> None:
    with pytest.raises(StoreError, match="gs://nonexistent-x/f: the bucket 'nonexistent-x' does not exist"):
        GCSStore.at("gs://nonexistent-x/f", client)


def test_missing_rights(client: storage.Client) -> None:
    with pytest.raises(StoreError, match=r"may not use gs://forbidden-x/f.*storage.objects.create.*roles/storage"):
        GCSStore.at("gs://forbidden-x/f", client)


def test_wrong_credentials(store: GCSStore, batch_emulator: Emulator) -> None:
    batch_emulator.arm("refused", operation="*", provider="gcs", status=401, times=10)
    with pytest.raises(StoreError, match=r"does not accept the credentials.*gcloud auth") as caught:
        store.write_new("a", b"")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["/tmp/x", "s3://bucket", "gs://", "gs:///x"])
def test_no_place_in_google_cloud_storage(client: storage.Client, url: str) -> None:
    with pytest.raises(ConfigError, match="write gs://bucket/folder"):
        GCSStore.at(url, client)


# -- several processes ---------------------------------------------------------------------------------------------

_RACER = """
import sys
from google.cloud import storage
from batch_assets.storage.gcs import GCSStore
me, rounds = sys.argv[1], int(sys.argv[2])
store = GCSStore("bucket", "race", storage.Client(project="p"))
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(rounds) if store.write_new(f"journal/{n:04}", me.encode())]
print(*won, flush=True)
"""


def test_processes_that_race_for_names(store: GCSStore, client: storage.Client) -> None:
    rounds, racers = 60, 4
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(number), str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(racers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(int(name) for names in won for name in names) == list(range(rounds))
    raced = GCSStore("bucket", "race", client)
    for number, names in enumerate(won):
        assert all(raced.read(f"journal/{int(name):04}") == str(number).encode() for name in names)
