"""Tables published to a bucket: an older generation never replaces a newer table, whoever is late."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from batch_assets import tables
from batch_assets.emulator import Emulator
from batch_assets.errors import StoreError
from batch_assets.storage.gcs_tables import GCSTableStore

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(batch_emulator: Emulator) -> Iterator[storage.Client]:
    with storage.Client(project="project", credentials=AnonymousCredentials()) as client:
        yield client


@pytest.fixture
def store(client: storage.Client) -> GCSTableStore:
    return GCSTableStore("gs://bucket/tables", client)


def publish(
    store: GCSTableStore, generation: int, *, ledger: str = "ledger", partition: str | None = "2026-01-01"
) -> bool:
    facts = {tables.GENERATION: str(generation).encode(), tables.LEDGER: ledger.encode()}
    table = pa.table({"generation": [generation] * 10, "text": [f"text {i}" for i in range(10)]})
    with store.scratch() as file:
        pq.write_table(table.replace_schema_metadata(facts), file)
        return store.publish(file, "group/asset", partition, generation)


def published(store: GCSTableStore, partition: str | None = "2026-01-01") -> pa.Table:
    return pads.dataset(store.file("group/asset", partition), filesystem=store.filesystem, format="parquet").to_table()


def test_a_newer_generation_replaces_and_an_older_one_does_not(store: GCSTableStore) -> None:
    assert not store.exists("group/asset", "2026-01-01")
    assert publish(store, 2)
    assert store.exists("group/asset", "2026-01-01")
    assert publish(store, 2)
    assert publish(store, 3)
    assert not publish(store, 2)
    assert published(store)["generation"].to_pylist() == [3] * 10
    assert publish(store, 1, ledger="another store")
    assert published(store)["generation"].to_pylist() == [1] * 10


def test_where_it_is(store: GCSTableStore, client: storage.Client) -> None:
    publish(store, 1, partition="eu|2026-01-01")
    publish(store, 1, partition=None)
    names = [blob.name for blob in client.list_blobs("bucket")]
    assert names == ["tables/group/asset.parquet", "tables/group/asset/eu/2026-01-01.parquet"]
    assert store.path("group/asset", "eu|2026-01-01") == f"gs://bucket/{names[1]}"
    assert store.file("group/asset", None) == f"bucket/{names[0]}"


def test_many_partitions_are_read_as_one_dataset(store: GCSTableStore) -> None:
    days = [f"2026-01-{day:02}" for day in range(1, 9)]
    for day in days:
        publish(store, 1, partition=day)
    files = [store.file("group/asset", day) for day in days]
    dataset = pads.dataset(files, filesystem=store.filesystem, format="parquet")
    assert dataset.count_rows() == 80
    assert dataset.to_table(columns=["text"], filter=pads.field("text") == "text 3").num_rows == 8
    with pytest.raises(FileNotFoundError):
        pads.dataset(store.file("group/asset", "2027-01-01"), filesystem=store.filesystem, format="parquet")


def test_only_the_range_that_is_read_is_fetched(store: GCSTableStore, tmp_path: Path) -> None:
    file = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"a": range(1_000_000), "b": range(1_000_000)}), file, use_dictionary=False)
    store.publish(file, "wide", None, 0)
    with store.filesystem.open_input_file(store.file("wide", None)) as stream:
        assert stream.size() == file.stat().st_size
        assert pq.read_table(stream, columns=["b"])["b"][-1].as_py() == 999_999


@pytest.mark.parametrize("fault", ["accept_then_drop", "drop"])
def test_a_lost_reply(store: GCSTableStore, batch_emulator: Emulator, fault: str) -> None:
    batch_emulator.arm(fault, operation="files.create", provider="gcs")
    assert publish(store, 1)
    assert published(store)["generation"].to_pylist() == [1] * 10


def test_a_wrong_bucket_is_named(client: storage.Client) -> None:
    with pytest.raises(StoreError, match="the bucket 'nonexistent-x' does not exist"):
        publish(GCSTableStore("gs://nonexistent-x", client), 1)


_PUBLISHER = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from google.cloud import storage
from batch_assets import tables
from batch_assets.storage.gcs_tables import GCSTableStore
store = GCSTableStore("gs://bucket/tables", storage.Client(project="p"))
print("ready", flush=True)
sys.stdin.readline()
for generation in map(int, sys.argv[1:]):
    facts = {tables.GENERATION: str(generation).encode(), tables.LEDGER: b"ledger"}
    with store.scratch() as file:
        pq.write_table(pa.table({"generation": [generation]}).replace_schema_metadata(facts), file)
        print(generation, store.publish(file, "group/asset", "2026-01-01", generation), flush=True)
"""


def test_processes_that_race(store: GCSTableStore) -> None:
    generations = [range(1, 40, 3), range(3, 40, 3), range(38, 1, -3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUBLISHER, *map(str, mine)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mine in generations
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = "".join(process.communicate(timeout=60)[0] for process in processes)
    assert all(process.returncode == 0 for process in processes)
    newest = max(max(mine) for mine in generations)
    assert f"{newest} True" in said
    assert published(store)["generation"].to_pylist() == [newest]
