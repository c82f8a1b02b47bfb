"""What only Vertex AI has: predictions in a bucket, labels, filters, errors of a whole job."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from google.auth.exceptions import RefreshError
from google.cloud import storage
from google.genai import types
from google.oauth2.credentials import Credentials
from provider_world import Nights, messages, spec_of
from pydantic import BaseModel, Field

from batch_assets.emulator import Emulator
from batch_assets.errors import Blocked, ConfigError, NotFound, Refused, Transient
from batch_assets.provider_contract.contract import SECRET, STAMP, Bench, texts
from batch_assets.providers.gemini_lines import read_labelled, sent_schema
from batch_assets.providers.vertex import VertexProvider
from batch_assets.records import BatchPhase, Ending, Outcome, Request
from batch_assets.schema import OutputSchema

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Answer(BaseModel):
    kind: Literal["only"]
    rate: int = Field(ge=1, le=5)
    name: str = Field(pattern="^[a-z]+$", description="A name.")


@pytest.fixture
def provider(batch_emulator: Emulator) -> VertexProvider:
    return VertexProvider(
        project="my-project",
        location="eu",
        gcs_folder="gs://bucket/batches",
        credentials=Credentials(token=SECRET),
        max_retries=0,
    )


@pytest.fixture
def bench(provider: VertexProvider, batch_emulator: Emulator) -> Bench:
    return Bench(provider=provider, emulator=batch_emulator, model="gemini-3-flash-preview", emulated="vertex")


@pytest.fixture
def client(batch_emulator: Emulator) -> Iterator[storage.Client]:
    with storage.Client(project="my-project", credentials=Credentials(token=SECRET)) as client:
        yield client


def names(client: storage.Client) -> list[str]:
    return [blob.name.rpartition("/")[2] for blob in client.list_blobs("bucket")]


def test_lines_are_what_the_sdk_types(bench: Bench) -> None:
    schema = OutputSchema.of(Answer)
    request = bench.request(
        system="Be kind.",
        json_schema=schema.json_schema,
        params={"temperature": 0.5, "thinkingConfig": {"thinkingBudget": 0}, "safetySettings": []},
    )
    (line,) = bench.lines(["text"], request)
    value = orjson.loads(line)
    assert value.keys() == {"request"}
    sent = value["request"]
    assert sent.keys() == {"labels", "safetySettings", "systemInstruction", "contents", "generationConfig"}
    assert types.Content.model_validate(sent["contents"][0], strict=True).parts[0].text == "text"
    assert types.Content.model_validate(sent["systemInstruction"], strict=True).parts[0].text == "Be kind."
    config = types.GenerationConfig.model_validate(sent["generationConfig"])
    assert (config.temperature, config.max_output_tokens) == (0.5, 200)
    assert config.response_json_schema == sent_schema(schema.json_schema)
    assert sent["labels"] == {"batch_assets_id": bench.ids(["text"], request)[0]}


def test_answers_are_what_the_sdk_types(bench: Bench) -> None:
    batch = bench.ended(bench.send(texts(3)))
    for line in bench.provider.results(batch):
        response = types.GenerateContentResponse.model_validate(orjson.loads(line)["response"])
        assert response.text == bench.provider.parse(line).text


def test_what_the_schema_mode_does_not_take_is_told_in_words() -> None:
    sent = sent_schema(OutputSchema.of(Answer).json_schema)
    assert sent["properties"]["kind"] == {"type": "string", "enum": ["only"]}
    assert sent["properties"]["rate"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert sent["properties"]["name"] == {"type": "string", "description": "A name. (pattern: ^[a-z]+$)"}


def test_predictions_in_shards_and_in_any_order(bench: Bench, client: storage.Client) -> None:
    bench.emulator.set_limits("vertex", output_shards=3)
    given = texts(50)
    batch_id = bench.send(given)
    batch = bench.ended(batch_id)
    files = names(client)
    assert [name for name in files if name.startswith("predictions")] == [
        f"predictions.jsonl-{number:05}-of-00003" for number in range(3)
    ]
    assert "incremental_predictions.jsonl" in files
    results = bench.results(batch)
    ids = bench.ids(given)
    assert [result.custom_id for result in results] != ids
    assert sorted(result.custom_id for result in results) == sorted(ids)


def test_shards_that_are_not_all_there_are_waited_for(bench: Bench, client: storage.Client) -> None:
    batch = bench.ended(bench.send(texts(10)))
    (folder,) = batch.result_files
    shards = [blob for blob in client.list_blobs("bucket") if "/predictions.jsonl" in blob.name]
    assert all(f"gs://bucket/{blob.name}".startswith(folder) for blob in shards)
    shards[0].delete()
    with pytest.raises(Transient, match="1 of 2 files"):
        list(bench.provider.results(batch))
    shards[1].delete()
    with pytest.raises(NotFound):
        list(bench.provider.results(batch))


def test_jobs_of_others_are_not_listed(bench: Bench, provider: VertexProvider) -> None:
    bench.send(texts(1))
    source = provider.upload("theirs.jsonl", iter(bench.lines(texts(1))))
    provider._client.batches.create(
        model="gemini-3-flash-preview", src=source, config={"display_name": "theirs", "dest": "gs://bucket/theirs"}
    )
    (batch,) = bench.listed()
    assert batch.stamp == STAMP
    assert provider.newest() == batch.batch_id


def test_many_pages_of_jobs(bench: Bench) -> None:
    made = [bench.send(texts(1)) for _ in range(103)]
    assert [batch.batch_id for batch in bench.listed()] == made[::-1]


@pytest.mark.parametrize(
    ("fault", "queue_full", "blocked"),
    [
        ({"fault": "token_limit_exceeded"}, True, False),
        ({"fault": "validation_failed", "code": "permission_denied"}, False, True),
        ({"fault": "validation_failed", "code": "internal"}, False, False),
    ],
)
def test_a_job_that_fails_unexecuted(bench: Bench, fault: dict[str, Any], queue_full: bool, blocked: bool) -> None:
    bench.emulator.arm(**fault)
    batch = bench.ended(bench.send(texts(3)))
    assert (batch.phase, batch.ending) == (BatchPhase.ENDED, Ending.FAILED)
    assert (batch.queue_full, batch.blocked) == (queue_full, blocked)
    assert batch.error_message


def test_an_input_that_was_deleted_has_nothing_to_run(bench: Bench, provider: VertexProvider) -> None:
    bench.emulator.set_latency(100)
    batch_id = bench.send(texts(3))
    (file,) = provider.input_files()
    assert file.name == "abcdefghij.jsonl"
    provider.delete_input(file.file_id)
    assert list(provider.input_files()) == []
    bench.emulator.advance(100)
    assert provider.batch(batch_id).ending is Ending.FAILED
    assert bench.bill["requests"] == 0


def _line(status: object, response: object = None) -> bytes:
    return orjson.dumps({"request": {"labels": {"batch_assets_id": "x"}}, "status": status, "response": response or {}})


@pytest.mark.parametrize(
    ("status", "kind", "curable"),
    [
        (
            'Bad Request: {"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}',
            "INVALID_ARGUMENT",
            0,
        ),
        ('Error: {"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED"}}', "RESOURCE_EXHAUSTED", 1),
        ({"code": 13, "message": "No."}, "13", 1),
        ({"code": 3, "message": "No."}, "3", 0),
        ("Bad Request: No.", "Bad Request", 0),
        ("Internal error: No.", "Internal error", 1),
    ],
)
def test_statuses_of_failed_lines(status: object, kind: str, curable: int) -> None:
    result = read_labelled(_line(status))
    assert (result.outcome, result.error_kind, result.curable) == (Outcome.ERRORED, kind, bool(curable))
    assert "No." in (result.error or "")


def test_thoughts_are_paid_for_and_not_shown() -> None:
    response = {
        "candidates": [
            {
                "content": {"parts": [{"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 30},
        "modelVersion": "m",
    }
    result = read_labelled(_line("", response))
    assert (result.text, result.input_tokens, result.output_tokens) == ("ab", 5, 32)


def test_settings_that_are_wrong_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right: dict[str, Any] = {"project": "p", "location": "eu", "gcs_folder": "gs://bucket/folder"}
    VertexProvider(**right, credentials=Credentials(token=SECRET)).check_credentials()
    VertexProvider(**right, base_url="http://127.0.0.1:1").check_credentials()
    for wrong in ({"project": ""}, {"location": ""}, {"gcs_folder": "/tmp"}):
        with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}`"):
            VertexProvider(**{**right, **wrong}).check_credentials()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(ConfigError, match=r"'vertex' has no Google credentials.*/nowhere/key.json was not found"):
        VertexProvider(**right).check_credentials()


def test_settings_of_the_environment(batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "eu")
    provider = VertexProvider(gcs_folder="gs://bucket/folder")
    assert provider.account == f"vertex+{batch_emulator.url.removeprefix('http://')}+p+eu"


def test_a_host_that_is_none_of_the_locations_names_it(provider: VertexProvider, batch_emulator: Emulator) -> None:
    told = "Invalid hostname: eu-aiplatform.googleapis.com"
    batch_emulator.arm("refused", operation="batches.list", status=400, message=told)
    with pytest.raises(Blocked, match=rf"answered 400: {told}; `location` is 'eu': write one"):
        provider.newest()
    batch_emulator.arm("refused", operation="batches.list", status=400, message="Invalid list filter")
    with pytest.raises(Refused, match=r"filter$"):
        provider.newest()


class Expired(Credentials):
    """Nobody accepts them any more."""

    @property
    def valid(self) -> bool:
        return False

    def refresh(self, request: Any) -> None:
        raise RefreshError("invalid_grant: Token has been expired\nor revoked.")


def test_credentials_that_are_not_accepted_are_said_in_one_line(batch_emulator: Emulator) -> None:
    provider = VertexProvider(
        project="p", location="eu", gcs_folder="gs://bucket/folder", credentials=Expired(token=SECRET), max_retries=0
    )
    with pytest.raises(Blocked) as caught:
        provider.newest()
    said = str(caught.value)
    assert said.endswith("Google does not accept the credentials: invalid_grant: Token has been expired or revoked.")
    assert "gs://bucket/folder" in said


def test_an_emulator_needs_its_address_alone(batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.delenv(name)
    url = batch_emulator.vertex_base_url
    provider = VertexProvider(project="p", location="eu", gcs_folder="gs://bucket/folder", base_url=url)
    bench = Bench(provider=provider, emulator=batch_emulator, model="gemini-3-flash-preview", emulated="vertex")
    assert {result.outcome for result in bench.run(texts(3))} == {Outcome.SUCCEEDED}


def test_a_long_namespace_is_refused(bench: Bench, provider: VertexProvider) -> None:
    with pytest.raises(ConfigError, match="128"):
        provider.create(
            stamp="x" * 129,
            request=Request(model="m"),
            input_file="gs://bucket/x",
            lines=lambda: iter(()),
            timeout_seconds=5,
        )


def test_without_the_sdk_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    provider = VertexProvider(project="p", location="eu", gcs_folder="gs://bucket/folder")
    with pytest.raises(ConfigError, match=r'pip install "batch-assets\[vertex\]"'):
        provider.check_credentials()


def test_a_night_whose_jobs_succeed_in_part(provider: VertexProvider, batch_emulator: Emulator, tmp_path: Path) -> None:
    for operation in ("batches.retrieve", "batches.list"):
        batch_emulator.arm(
            "unknown_status", operation=operation, status="JOB_STATE_PARTIALLY_SUCCEEDED", provider="vertex", times=99
        )
    batch_emulator.arm("request_error", contains="Message 2:")
    landing, table = Nights(tmp_path / "night", provider).night(spec_of("gemini-3-flash-preview", str), messages(6))
    assert landing.outcomes == {"succeeded": 6}
    assert table["batch_attempts"].to_pylist() == [1, 1, 2, 1, 1, 1]
