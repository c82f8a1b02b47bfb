"""Gemini on Vertex AI: batch prediction jobs through google-genai, input and predictions in Google Cloud Storage.

Needs an extra: `pip install "batch-assets[vertex]"`. Facts relied on (aiplatform discovery revision 20261106, SDK 3.4
and notes of users, read 2026-11; nothing here was tried on Google): a job takes 200,000 requests and 1 GB; it waits for
up to 72 h and runs for up to 24 h; what it finished stays in the bucket and is billed, also where it was canceled; the
predictions stand in a new directory that the job names, in shards and in any order, beside files that are none
(`incremental_predictions.jsonl`); custom ids are not repeated, but labels of the request are. The list is filtered by
the server. Uncertain: the order of the list (it is sorted here), and how a full queue shows: a job that failed with
RESOURCE_EXHAUSTED unexecuted is sent again later.

The bucket keeps inputs that could not be deleted and all predictions until its own lifecycle rules delete them.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from batch_assets.admission import QueueLimits
from batch_assets.errors import ConfigError, NotFound, Refused, Transient
from batch_assets.model_names import check_model
from batch_assets.providers.gemini_lines import check_request, labelled_envelope, read_label, read_labelled
from batch_assets.providers.google import (
    check_default_credentials,
    creating,
    import_genai,
    placeholder,
    reading,
    storage_client,
)
from batch_assets.providers.http import check_address, check_calls, retried, split_lines
from batch_assets.providers.vertex_jobs import job_info
from batch_assets.providers.vertex_settings import check_form, host_of, misplaced
from batch_assets.records import BatchInfo, BatchPhase, InputFile, Limits
from batch_assets.storage.scratch import scratch_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.auth.credentials import Credentials
    from google.cloud.storage import Blob, Client

    from batch_assets.providers.gemini_lines import LineEnvelope
    from batch_assets.providers.protocol import ResultLine
    from batch_assets.records import Request

OURS = ("batch_assets", "v1")
"""The label of our jobs; lists are filtered by it, since a project has other jobs, too."""

LIMITS = Limits(
    max_requests=200_000,
    max_bytes=1_000_000_000,
    max_request_bytes=20_000_000,
    completion_window="96h",  # 72 h in the queue and 24 h of running
    results_kept_days=365,  # in the user's own bucket
)
_LISTED_DAYS = 30
_ANCHOR_DAYS = 20
"""The newest job is looked for in fewer days than are listed, so that it is listed when it is looked for again."""
_LONGEST_NAME = 128
_OTHERS = ("anthropic", "claude", "meta", "llama", "mistral", "deepseek-ai", "qwen")
"""Publishers and models whose batches at Vertex AI have other lines (Claude's: four jobs at a time)."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CHUNK_BYTES = 8 << 20
_PREDICTIONS = re.compile(r"predictions?\.(?:jsonl|results)(?:-(\d+)-of-(\d+))?")


class VertexProvider:
    """One project and location at Google Cloud."""

    vendor = "google"
    host: str | None = None
    limits = LIMITS
    assumed_batch_discount: Decimal | None = Decimal("0.5")

    def __init__(
        self,
        *,
        gcs_folder: str,
        project: str | None = None,
        location: str | None = None,
        name: str = "vertex",
        storage_client: Client | Callable[[], Client] | None = None,
        credentials: Credentials | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 300,
        max_retries: int = 2,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """`gcs_folder`: gs://bucket/folder for inputs and predictions.

        Default project, location, address and credentials: the environment's (GOOGLE_CLOUD_PROJECT,
        GOOGLE_CLOUD_LOCATION, GOOGLE_VERTEX_BASE_URL). An address on this machine is an emulator's: it is sent no
        credentials of Google's, and has the bucket, too. Raises ConfigError.
        """
        check_calls(timeout_seconds, max_retries)
        self.name = name
        self.queue = queue or QueueLimits()
        self.listing_grace_seconds = listing_grace_seconds
        self._project = project or os.environ.get("GOOGLE_CLOUD_PROJECT") or ""
        self._location = location or os.environ.get("GOOGLE_CLOUD_LOCATION") or ""
        self._folder = gcs_folder.rstrip("/")
        self._given_storage = storage_client
        self._credentials = credentials
        self._base_url = (base_url or os.environ.get("GOOGLE_VERTEX_BASE_URL") or "").rstrip("/") or None
        for setting, value in {"project": project, "location": location, "gcs_folder": self._folder}.items():
            if value:
                check_form(name, setting, value)
        if base_url:
            check_address("base_url", base_url, added=("/v1", "/v1beta1"))
        self._timeout_seconds = timeout_seconds
        self._max_retries = max_retries

    def __repr__(self) -> str:
        return f"VertexProvider(name={self.name!r}, project={self._project!r}, location={self._location!r})"

    @cached_property
    def _client(self) -> Any:
        self._check_settings()
        genai, types = import_genai(self.name, "vertex")
        options = types.HttpOptions(
            base_url=self._base_url, api_version="v1beta1", timeout=int(self._timeout_seconds * 1000)
        )
        return genai.Client(
            vertexai=True,
            project=self._project,
            location=self._location,
            credentials=self._credentials or (placeholder() if self._emulator else None),
            http_options=options,
        )

    @property
    def _emulator(self) -> str | None:
        """Root of the emulator, if the address is one on this machine."""
        url = urlsplit(self._base_url or "")
        return f"{url.scheme}://{url.netloc}" if url.hostname in _LOOPBACK else None

    @cached_property
    def _storage(self) -> Client:
        given = self._given_storage
        if given is not None:
            return given() if callable(given) else given
        return storage_client(self.name, self._project, self._credentials, emulator=self._emulator)

    @property
    def _place(self) -> str:
        return f"project {self._project!r}, location {self._location!r}"

    def _check_settings(self) -> None:
        for setting, value in (("project", self._project), ("location", self._location)):
            if not value:
                raise ConfigError(
                    f"the provider {self.name!r} has no `{setting}`: set it in its resource, or the environment "
                    f"variable GOOGLE_CLOUD_{setting.upper()}"
                )
            check_form(self.name, setting, value)
        check_form(self.name, "gcs_folder", self._folder)

    @cached_property
    def account(self) -> str:
        """Vendor, host where it is not Google's own, project and location."""
        place = [urlsplit(self._base_url).netloc] if self._base_url else []
        return "+".join(["vertex", *place, self._project, self._location])

    def check_credentials(self) -> None:
        """Raise ConfigError naming what is missing: a setting, Google's credentials, the SDK."""
        self._check_settings()
        import_genai(self.name, "vertex")
        if self._credentials is None and self._emulator is None:
            check_default_credentials(self.name)

    def check(self, request: Request) -> None:
        """Refuse what the batch API would refuse. Raises ConfigError."""
        check_request(request)
        publisher = request.model.rpartition("publishers/")[2].partition("/")[0]
        if publisher.startswith(_OTHERS):
            raise ConfigError(
                f"`model` is {request.model!r}; only Gemini's batches are spoken here. For Claude take an "
                "AnthropicBatchResource"
            )
        if not self._base_url:
            model = request.model.removeprefix("publishers/google/models/")
            check_model(model, vendor=self.vendor, provider=self.name, endpoint=request.endpoint)

    def envelope(self, request: Request) -> LineEnvelope:
        """The constant part of the request lines."""
        return labelled_envelope(request)

    # ------------------------------------------------------------ jobs

    def newest(self) -> str | None:
        """Id of the newest of our jobs."""
        jobs = self._jobs(_ANCHOR_DAYS)
        return jobs[0].batch_id if jobs else None

    def batches(self) -> Iterator[BatchInfo]:
        """Our jobs of the last 30 days, newest first."""
        yield from self._jobs(_LISTED_DAYS)

    def _jobs(self, days: int) -> list[BatchInfo]:
        since = (self._google_time - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = f'labels.{OURS[0]}={OURS[1]} AND create_time>"{since}"'

        what = f"listing the batch jobs of {self._place}"

        def read() -> list[BatchInfo]:
            with reading(self.name, what):
                found = self._client.batches.list(config={"filter": wanted, "page_size": 100})
                return [job_info(job) for job in found]

        try:
            return sorted(retried(read, self._max_retries), key=lambda job: job.created_at, reverse=True)
        except (NotFound, Refused, Transient) as error:
            host = urlsplit(self._base_url).netloc if self._base_url else host_of(self._location)
            raise misplaced(error, name=self.name, what=what, location=self._location, host=host) from error

    def batch(self, batch_id: str) -> BatchInfo:
        """One job."""

        def read() -> BatchInfo:
            with reading(self.name, f"reading batch job {batch_id} of {self._place}"):
                return job_info(self._client.batches.get(name=self._resource(batch_id)))

        return retried(read, self._max_retries)

    def cancel(self, batch_id: str) -> None:
        """Ask for its cancellation; one that has ended is left alone."""

        def ask() -> None:
            with reading(self.name, f"canceling batch job {batch_id}"):
                self._client.batches.cancel(name=self._resource(batch_id))

        try:
            retried(ask, self._max_retries)
        except Refused:
            if self.batch(batch_id).phase is not BatchPhase.ENDED:
                raise

    def create(
        self,
        *,
        stamp: str,
        request: Request,
        input_file: str | None,
        lines: Callable[[], Iterator[bytes]],  # the requests are in the input file
        timeout_seconds: float,
    ) -> str:
        """Create the job, once: `attempts=1` holds against the retries of every transport of the SDK."""
        if len(stamp) > _LONGEST_NAME:
            raise ConfigError(f"the namespace makes {stamp!r} longer than {_LONGEST_NAME} characters; shorten it")
        source = input_file or ""
        client = self._client
        with creating(self.name, f"creating a batch job in {self._place}"):
            job = client.batches.create(
                model=request.model,
                src=source,
                config={
                    "display_name": stamp,
                    "dest": f"{source.rpartition('/')[0]}/predictions",
                    "http_options": {
                        "timeout": int(timeout_seconds * 1000),
                        "extra_body": {"labels": dict([OURS])},
                        "retry_options": {"attempts": 1},
                    },
                },
            )
            if not job.name:
                raise ValueError("the answer names no job")
            return str(job.name).rpartition("/")[2]

    def console_url(self, batch_id: str) -> str | None:
        """Where a person looks at the job."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self._location}/batch-predictions/{batch_id}"
            f"?project={self._project}"
        )

    def _resource(self, batch_id: str) -> str:
        return f"projects/{self._project}/locations/{self._location}/batchPredictionJobs/{batch_id}"

    @cached_property
    def _google_time(self) -> datetime:
        """Google's clock when it was first asked for, off an empty object; this machine's may be wrong."""
        blob = self._blob(f"{self._folder}/clock-{secrets.token_hex(8)}")

        def read() -> datetime:
            with reading(self.name, f"writing to {self._folder}"):
                blob.upload_from_string(b"", retry=None)
                time: datetime = blob.time_created
                return time

        found = retried(read, self._max_retries)
        self.delete_input(f"gs://{blob.bucket.name}/{blob.name}")
        return found

    # ------------------------------------------------------------ files in the bucket

    def upload(self, name: str, chunks: Iterator[bytes]) -> str | None:
        """Write an input file under a random folder, and return its URL."""
        url = f"{self._folder}/{secrets.token_hex(8)}/{name}"
        with scratch_file() as scratch:
            scratch.writelines(chunks)
            size = scratch.tell()

            def send() -> None:
                from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415  # slow to import

                scratch.seek(0)
                blob = self._blob(url)
                blob.chunk_size = _CHUNK_BYTES
                with reading(self.name, f"uploading {url}"), suppress(PreconditionFailed):  # ours: the name is random
                    blob.upload_from_file(
                        scratch, size=size, content_type="application/jsonl", if_generation_match=0, retry=None
                    )

            retried(send, self._max_retries)
        return url

    def results(self, batch: BatchInfo) -> Iterator[bytes]:
        """The lines of its prediction files, each fetched to local scratch. Raises NotFound if there are none."""
        for folder in batch.result_files:
            for url in self._predictions(batch, folder):
                with scratch_file() as scratch:

                    def fetch(url: str = url, scratch: Any = scratch) -> None:
                        scratch.seek(0)
                        scratch.truncate()
                        with reading(self.name, f"downloading {url} of batch job {batch.batch_id}"):
                            self._blob(url).download_to_file(scratch, raw_download=True, retry=None)

                    retried(fetch, self._max_retries)
                    scratch.seek(0)
                    yield from split_lines(iter(partial(scratch.read, 1 << 20), b""))

    def _predictions(self, batch: BatchInfo, folder: str) -> list[str]:
        """The URLs of the prediction files in a folder; all shards have to be there."""
        bucket, prefix = _split(folder.rstrip("/") + "/")

        def read() -> list[str]:
            with reading(self.name, f"listing {folder} of batch job {batch.batch_id}"):
                return [blob.name for blob in self._storage.list_blobs(bucket, prefix=prefix, retry=None)]

        found = {name: _PREDICTIONS.fullmatch(name.rpartition("/")[2]) for name in retried(read, self._max_retries)}
        shards = {name: match for name, match in found.items() if match is not None}
        if not shards:
            raise NotFound(f"{self.name}: there are no predictions in {folder}", provider=self.name, status=404)
        wanted = max(int(match[2] or 1) for match in shards.values())
        if len(shards) < wanted:
            raise Transient(f"{self.name}: {folder} has {len(shards)} of {wanted} files", provider=self.name)
        return [f"gs://{bucket}/{name}" for name in sorted(shards)]

    def delete_input(self, input_file: str) -> None:
        """Delete an input file."""

        def delete() -> None:
            with reading(self.name, f"deleting {input_file}"):
                self._blob(input_file).delete(retry=None)

        with suppress(NotFound):
            retried(delete, self._max_retries)

    def input_files(self) -> Iterator[InputFile]:
        """All input files in the folder."""
        bucket, prefix = _split(f"{self._folder}/")

        def read() -> list[str]:
            with reading(self.name, f"listing {self._folder}"):
                return [blob.name for blob in self._storage.list_blobs(bucket, prefix=prefix, retry=None)]

        for name in retried(read, self._max_retries):
            *_, leaf = path = name.removeprefix(prefix).split("/")
            if len(path) == 2:  # folder, file: predictions stand deeper
                yield InputFile(file_id=f"gs://{bucket}/{name}", name=leaf)

    def _blob(self, url: str) -> Blob:
        bucket, name = _split(url)
        return self._storage.bucket(bucket).blob(name)

    def custom_id(self, line: bytes) -> str | None:
        """The custom_id of a result line."""
        return read_label(line)

    def parse(self, line: bytes) -> ResultLine:
        """A whole result line. Raises ValueError."""
        return read_labelled(line)


def _split(url: str) -> tuple[str, str]:
    bucket, _, name = url.removeprefix("gs://").partition("/")
    return bucket, name
