"""The emulated Google Cloud Storage, through the official client that finds it by STORAGE_EMULATOR_HOST alone."""

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import google_crc32c
import pytest
import requests
from google.api_core.exceptions import BadRequest, Forbidden, NotFound, PreconditionFailed, ServiceUnavailable
from google.api_core.retry import Retry
from google.cloud import storage

from batch_assets.emulator import Emulator, SpawnedEmulator

# The client does not close the connection of a download that was refused.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
MIB = 1 << 20
QUICK = Retry(predicate=storage.retry.DEFAULT_RETRY._predicate, initial=0.02, maximum=0.05, timeout=10)


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Client]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.gcs_base_url)
    with storage.Client() as client:
        yield client


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.bucket("bucket")


def test_an_object_comes_back_with_its_facts(bucket: storage.Bucket) -> None:
    blob = bucket.blob("folder/ü %2F.bin")
    blob.metadata = {"writer": "me"}
    before = datetime.now(UTC)
    blob.upload_from_string(b"content", content_type="application/jsonl")
    found = bucket.get_blob("folder/ü %2F.bin")
    assert found.download_as_bytes() == b"content"
    assert (found.size, found.content_type, found.metadata) == (7, "application/jsonl", {"writer": "me"})
    assert found.md5_hash == base64.b64encode(hashlib.md5(b"content").digest()).decode()
    assert found.crc32c == base64.b64encode(google_crc32c.Checksum(b"content").digest()).decode()
    assert abs(found.time_created - before) < timedelta(seconds=5)
    assert found.generation == blob.generation


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 20 * MIB])
def test_any_size_in_one_piece_or_resumable(bucket: storage.Bucket, size: int) -> None:
    content = os.urandom(size)
    blob = bucket.blob("large")
    blob.chunk_size = 4 * MIB
    blob.upload_from_file(io.BytesIO(content), size=size, if_generation_match=0)
    assert bucket.blob("large").download_as_bytes() == content


def test_a_stream_of_unknown_length(bucket: storage.Bucket) -> None:
    with bucket.blob("stream").open("wb", chunk_size=MIB, if_generation_match=0) as stream:
        stream.write(b"x" * (3 * MIB + 5))
    assert bucket.get_blob("stream").size == 3 * MIB + 5


def test_ranges(bucket: storage.Bucket) -> None:
    bucket.blob("digits").upload_from_string("0123456789")
    blob = bucket.blob("digits")
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    assert blob.download_as_bytes(start=8, end=100) == b"89"
    with blob.open("rb", chunk_size=4) as stream:
        stream.seek(-3, os.SEEK_END)
        assert stream.read() == b"789"


def test_create_once(bucket: storage.Bucket) -> None:
    bucket.blob("name").upload_from_string("first", if_generation_match=0)
    for size in (5, 9 * MIB):
        with pytest.raises(PreconditionFailed):
            bucket.blob("name").upload_from_file(io.BytesIO(b"x" * size), size=size, if_generation_match=0)
    assert bucket.blob("name").download_as_bytes() == b"first"


def test_overwrite_only_what_was_read(bucket: storage.Bucket) -> None:
    blob = bucket.blob("name")
    blob.upload_from_string("1")
    first = blob.generation
    blob.upload_from_string("2", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string("3", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.blob("name").delete(if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.blob("name").upload_from_string("3", if_generation_not_match=blob.generation)
    with pytest.raises(NotFound):  # the generation that was replaced is gone
        bucket.blob("name", generation=first).download_as_bytes()
    bucket.blob("name").delete(if_generation_match=blob.generation)
    assert not bucket.blob("name").exists()


def test_one_of_many_writers_wins(bucket: storage.Bucket) -> None:
    def write(number: int) -> bool:
        try:
            bucket.blob("name").upload_from_string(str(number), if_generation_match=0)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(32)))
    assert sum(won) == 1
    assert bucket.blob("name").download_as_bytes() == str(won.index(True)).encode()


def test_listings(client: storage.Client, bucket: storage.Bucket) -> None:
    names = ["a", "a/1", "a/2", "a/b/3", "a-b/4", "b", "é", "z/5", "𝒳"]
    for name in reversed(names):
        bucket.blob(name).upload_from_string(name)
    in_order = sorted(names, key=str.encode)
    assert [blob.name for blob in client.list_blobs(bucket, page_size=2)] == in_order
    assert [blob.name for blob in client.list_blobs(bucket, prefix="a/")] == ["a/1", "a/2", "a/b/3"]
    assert [blob.name for blob in client.list_blobs(bucket, start_offset="b", end_offset="z")] == ["b"]
    for page_size in (1, 2, 100):
        folders = client.list_blobs(bucket, delimiter="/", page_size=page_size)
        assert [blob.name for blob in folders] == [name for name in in_order if "/" not in name]
        assert folders.prefixes == {"a/", "a-b/", "z/"}
    assert list(client.list_blobs(bucket, prefix="nothing")) == []


def test_what_is_wrong_is_said(client: storage.Client, bucket: storage.Bucket) -> None:
    with pytest.raises(NotFound, match="No such object: bucket/none"):
        bucket.blob("none").download_as_bytes()
    with pytest.raises(NotFound, match="No such object"):
        bucket.blob("none").delete()
    with pytest.raises(NotFound, match="The specified bucket does not exist"):
        client.bucket("nonexistent-bucket").blob("x").upload_from_string("x")
    with pytest.raises(NotFound, match="The specified bucket does not exist"):
        list(client.list_blobs("nonexistent-bucket"))
    with pytest.raises(Forbidden, match="does not have storage"):
        client.bucket("forbidden-bucket").blob("x").upload_from_string("x")
    with pytest.raises(BadRequest, match="object name"):
        bucket.blob("a\nb").upload_from_string("x")
    assert bucket.exists()
    assert not client.bucket("nonexistent-bucket").exists()


def test_a_spoiled_upload_is_refused(bucket: storage.Bucket) -> None:
    with pytest.raises(BadRequest, match="doesn't match calculated"):
        bucket.blob("x").upload_from_string(b"x" * (9 * MIB), crc32c_checksum_value="AAAAAA==")
    assert not bucket.blob("x").exists()


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_a_write_that_lands_and_whose_reply_is_lost(emulator: Emulator, bucket: storage.Bucket, size: int) -> None:
    content = b"x" * size
    emulator.arm("accept_then_drop", operation="files.create", provider="gcs", after=0 if size < MIB else 1)
    blob = bucket.blob("name")
    try:
        blob.upload_from_file(io.BytesIO(content), size=size, if_generation_match=0, retry=QUICK)
    except PreconditionFailed:  # the client's own second try meets what the first one wrote
        assert size < MIB
    assert bucket.blob("name").download_as_bytes() == content


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("operation", ["files.create", "files.content", "files.list", "files.delete"])
def test_refusals_are_tried_again(
    emulator: Emulator, client: storage.Client, bucket: storage.Bucket, status: int, operation: str
) -> None:
    bucket.blob("name").upload_from_string("x")
    emulator.arm("refused", operation=operation, provider="gcs", status=status, times=2)
    match operation:
        case "files.create":
            bucket.blob("other").upload_from_string("x", if_generation_match=0, retry=QUICK)
        case "files.content":
            assert bucket.blob("name").download_as_bytes(retry=QUICK) == b"x"
        case "files.list":
            assert len(list(client.list_blobs(bucket, retry=QUICK))) == 1
        case _:
            bucket.blob("name").delete(retry=QUICK)
    assert emulator.faults()[0]["fired"] == 2


def test_refused_for_good(emulator: Emulator, bucket: storage.Bucket) -> None:
    emulator.arm("refused", operation="files.create", provider="gcs", status=503, times=1000)
    with pytest.raises(ServiceUnavailable):
        bucket.blob("name").upload_from_string("x", retry=None)
    emulator.clear_faults()
    assert not bucket.blob("name").exists()


def test_a_cut_download_is_taken_up_where_it_ended(emulator: Emulator, bucket: storage.Bucket) -> None:
    content = os.urandom(3 * MIB)
    bucket.blob("name").upload_from_string(content)
    emulator.arm("cut", provider="gcs", kind="any", after_bytes=MIB, times=2)
    target = io.BytesIO()
    bucket.blob("name").download_to_file(target, retry=QUICK)
    assert target.getvalue() == content
    assert emulator.faults()[0]["fired"] == 2


def test_a_cut_upload_leaves_nothing(emulator: Emulator, bucket: storage.Bucket) -> None:
    emulator.arm("upload_cut", operation="files.create", provider="gcs", after_bytes=10)
    with pytest.raises(requests.ConnectionError):
        bucket.blob("name").upload_from_string(b"x" * MIB, retry=None)
    assert not bucket.blob("name").exists()


def test_objects_outlive_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SpawnedEmulator(tmp_path) as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.gcs_base_url)
        with storage.Client() as client:
            blob = client.bucket("bucket").blob("name")
            blob.upload_from_string("kept")
            emulator.kill()
            emulator.start()
            found = client.bucket("bucket").get_blob("name", retry=QUICK)
            assert (found.generation, found.download_as_bytes()) == (blob.generation, b"kept")
            with pytest.raises(PreconditionFailed):
                client.bucket("bucket").blob("name").upload_from_string("x", if_generation_match=0)
