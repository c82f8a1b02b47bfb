"""Mistral's files and batch jobs, as the official SDK sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from mistralai.client.models import BatchJob, ChatCompletionResponse, EmbeddingResponse
from mistralai.extra.batch import BatchOutput

from batch_assets.emulator import Emulator

MODEL: Final = "mistral-small-2603"
CHAT: Final = "/v1/chat/completions"
EMBEDDINGS: Final = "/v1/embeddings"
HOUR = 3600


@pytest.fixture
def mistral(emulator: Emulator) -> Iterator[Mistral]:
    with Mistral(api_key="sk-test", server_url=emulator.mistral_server_url, timeout_ms=20_000) as client:
        yield client


def line(custom_id: str | None, text: str = "hello", **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": text}], **body}}


def lines(count: int) -> list[dict[str, Any]]:
    return [line(f"row-{number}", f"message number {number}") for number in range(count)]


def uploaded(client: Mistral, requests: Iterable[Any]) -> str:
    content = b"".join(json.dumps(each).encode() + b"\n" for each in requests)
    return client.files.upload(file={"file_name": "in.jsonl", "content": content}, purpose="batch").id


def submit(client: Mistral, requests: Iterable[Any], **more: Any) -> BatchJob:
    given: dict[str, Any] = {"endpoint": CHAT, "model": MODEL, **more}
    return client.batch.jobs.create(input_files=[uploaded(client, requests)], **given)


def read(client: Mistral, file_id: Any) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.files.download(file_id=file_id).iter_lines()]


def test_a_job_from_upload_to_results(mistral: Mistral, emulator: Emulator) -> None:
    job = submit(mistral, lines(50), metadata={"plan": "p-1", "ünï": "ço\nde"})
    assert (job.status, job.total_requests, job.object) == ("QUEUED", 0, "batch")
    job = mistral.batch.jobs.get(job_id=job.id)
    assert (job.status, job.model, job.metadata) == ("SUCCESS", MODEL, {"plan": "p-1", "ünï": "ço\nde"})
    assert (job.total_requests, job.completed_requests, job.succeeded_requests, job.failed_requests) == (50, 50, 50, 0)
    assert (job.error_file, job.outputs) == (None, None)
    found = read(mistral, job.output_file)
    ids = [each["custom_id"] for each in found]
    assert sorted(ids) == sorted(f"row-{number}" for number in range(50))
    assert ids != [f"row-{number}" for number in range(50)]
    assert emulator.bill()["mistral"]["requests"] == 50


def test_answers_are_what_the_sdk_describes(mistral: Mistral) -> None:
    job = mistral.batch.jobs.get(job_id=submit(mistral, lines(3)).id)
    raw = mistral.files.download(file_id=str(job.output_file)).read()
    output = BatchOutput.from_jsonl_bytes(raw, ChatCompletionResponse)
    assert (len(output.responses), output.request_errors, output.response_errors) == (3, [], [])
    for each in read(mistral, job.output_file):
        ChatCompletionResponse.model_validate_json(json.dumps(each["response"]["body"]), strict=True)
    job = submit(mistral, [{"custom_id": "e", "body": {"input": "hello"}}], endpoint=EMBEDDINGS, model="mistral-embed")
    job = mistral.batch.jobs.get(job_id=job.id)
    (each,) = read(mistral, job.output_file)
    answer = EmbeddingResponse.model_validate_json(json.dumps(each["response"]["body"]), strict=True)
    assert len(answer.data[0].embedding or []) == 1024


def test_files_are_described(mistral: Mistral, emulator: Emulator) -> None:
    file_id = uploaded(mistral, lines(3))
    file = mistral.files.retrieve(file_id=file_id)
    assert (file.sample_type, file.num_lines, file.source, file.purpose) == ("batch_request", 3, "upload", "batch")
    assert file.expires_at == file.created_at + 30 * 24 * HOUR
    job = mistral.batch.jobs.create(endpoint=CHAT, input_files=[file_id], model=MODEL)
    job = mistral.batch.jobs.get(job_id=job.id)
    result = mistral.files.retrieve(file_id=str(job.output_file))
    assert (result.sample_type, result.source) == ("batch_result", "mistral")
    assert {each.id for each in mistral.files.list().data} == {file_id, str(job.output_file)}
    assert mistral.files.delete(file_id=file_id).deleted
    with pytest.raises(SDKError, match="not found"):
        mistral.files.retrieve(file_id=file_id)
    emulator.advance(25 * HOUR)
    with pytest.raises(SDKError, match="not found"):
        mistral.files.download(file_id=str(job.output_file))


def test_inline_requests_and_inline_results(mistral: Mistral) -> None:
    job = mistral.batch.jobs.create(endpoint=CHAT, model=MODEL, requests=[line("a"), line(None), line("c")])  # type: ignore[arg-type]
    assert job.input_files == []
    job = mistral.batch.jobs.get(job_id=job.id, inline=True)
    assert {each["custom_id"] for each in job.outputs or []} == {"a", None, "c"}


def test_several_input_files_make_one_job(mistral: Mistral) -> None:
    files = [uploaded(mistral, lines(2)), uploaded(mistral, [line("more")])]
    job = mistral.batch.jobs.create(endpoint=CHAT, model=MODEL, input_files=files)
    assert mistral.batch.jobs.get(job_id=job.id).total_requests == 3


def test_jobs_are_listed_newest_first_in_pages_from_0(mistral: Mistral, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    made = []
    for number in range(5):
        made.append(submit(mistral, lines(1), metadata={"n": str(number)}).id)
        emulator.advance(2)
    page = mistral.batch.jobs.list(page=0, page_size=2)
    assert ([each.id for each in page.data or []], page.total) == (made[::-1][:2], 5)
    assert [each.id for each in mistral.batch.jobs.list(page=2, page_size=2).data or []] == made[:1]
    assert mistral.batch.jobs.list(page=3, page_size=2).data == []
    assert [each.id for each in mistral.batch.jobs.list(order_by="created").data or []] == made
    middle = datetime.fromtimestamp(mistral.batch.jobs.get(job_id=made[2]).created_at, UTC) + timedelta(seconds=1)
    assert [each.id for each in mistral.batch.jobs.list(created_after=middle).data or []] == [made[4], made[3]]
    assert mistral.batch.jobs.list(status=["SUCCESS"]).total == 0
    assert mistral.batch.jobs.list(status=["QUEUED", "SUCCESS"]).total == 5
    assert mistral.batch.jobs.list(model="other").total == 0
    assert mistral.batch.jobs.list(metadata={"n": "3"}).total == 5  # sent as ?n=3, which is ignored


def test_cancel_keeps_what_was_executed(mistral: Mistral, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    job = submit(mistral, lines(50))
    emulator.advance(525)
    assert mistral.batch.jobs.cancel(job_id=job.id).status == "CANCELLATION_REQUESTED"
    emulator.advance(100)
    job = mistral.batch.jobs.get(job_id=job.id)
    assert (job.status, job.completed_requests) == ("CANCELLED", 25)
    assert len(read(mistral, job.output_file)) == emulator.bill()["mistral"]["requests"] == 25
    with pytest.raises(SDKError, match="CANCELLED"):
        mistral.batch.jobs.cancel(job_id=job.id)


def test_a_job_may_time_out_and_be_deleted(mistral: Mistral, emulator: Emulator) -> None:
    emulator.set_latency(20 * HOUR)
    job = submit(mistral, lines(20), timeout_hours=10)
    with pytest.raises(SDKError, match="cannot be deleted"):
        mistral.batch.jobs.delete(job_id=job.id)
    emulator.advance(11 * HOUR)
    job = mistral.batch.jobs.get(job_id=job.id)
    assert job.status == "TIMEOUT_EXCEEDED"
    assert job.completed_at == job.created_at + 10 * HOUR
    assert 0 < job.completed_requests < 20
    assert mistral.batch.jobs.delete(job_id=job.id).deleted
    with pytest.raises(SDKError, match="not found"):
        mistral.batch.jobs.get(job_id=job.id)


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "no requests"),
        ([line("a"), {"custom_id": "b"}], "Line 2: field required: body"),
        ([{"custom_id": 7, "body": {}}], "custom_id should be a string"),
        (lines(4), "a job takes 3"),
    ],
)
def test_inputs_that_fail_the_job(mistral: Mistral, emulator: Emulator, requests: list[Any], reason: str) -> None:
    emulator.set_limits("mistral", max_requests=3)
    job = mistral.batch.jobs.get(job_id=submit(mistral, requests).id)
    assert (job.status, job.output_file) == ("FAILED", None)
    assert reason in job.errors[0].message
    assert emulator.bill() == {}


def test_the_limits_are_where_they_are_said_to_be(mistral: Mistral, emulator: Emulator) -> None:
    emulator.set_limits("mistral", max_requests=3, max_inline_requests=2, pending_requests=5)
    emulator.set_latency(1000)
    submit(mistral, lines(3))
    with pytest.raises(SDKError, match="pending batch requests") as caught:
        submit(mistral, lines(3))
    assert caught.value.status_code == 429
    submit(mistral, lines(2))
    with pytest.raises(SDKError, match="at most 2 items"):
        mistral.batch.jobs.create(endpoint=CHAT, model=MODEL, requests=[line("a"), line("b"), line("c")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "status", "reason"),
    [
        ({"metadata": {"k" * 32: "v" * 512}}, None, ""),
        ({"metadata": {"k" * 33: "v"}}, 422, "from 1 to 32"),
        ({"metadata": {"k": "v" * 513}}, 422, "from 1 to 512"),
        ({"metadata": {"k": ""}}, 422, "from 1 to 512"),
        ({"timeout_hours": 168}, 422, "timeout_hours"),
        ({"endpoint": "/v1/moderations"}, 422, "endpoint"),
        ({"model": "nonexistent-1"}, 400, "Invalid model"),
        ({"input_files": ["9b1d4ce1-0000-4000-8000-000000000000"]}, 404, "not found"),
        ({"input_files": None}, 422, "Exactly one of"),
    ],
)
def test_create_calls_that_are_refused(mistral: Mistral, more: dict[str, Any], status: int | None, reason: str) -> None:
    given = {"endpoint": CHAT, "model": MODEL, "input_files": [uploaded(mistral, lines(1))], **more}
    if status is None:
        mistral.batch.jobs.create(**given)
        return
    with pytest.raises(SDKError, match=reason) as caught:
        mistral.batch.jobs.create(**given)
    assert caught.value.status_code == status
    assert mistral.batch.jobs.list().total == 0


def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    with (
        Mistral(api_key="sk-invalid", server_url=emulator.mistral_server_url) as client,
        pytest.raises(SDKError) as caught,
    ):
        client.batch.jobs.list()
    assert (caught.value.status_code, json.loads(caught.value.body)) == (401, {"detail": "Unauthorized"})


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"model": None}, "model"),
        ({"stream": True}, "stream"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "messages"),
        ({"temperature": 2}, "temperature"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_requests_that_are_refused_alone(
    mistral: Mistral, emulator: Emulator, body: dict[str, Any], where: str
) -> None:
    job = mistral.batch.jobs.get(job_id=submit(mistral, [line("bad", **body), line("good")]).id)
    assert (job.status, job.succeeded_requests, job.failed_requests) == ("SUCCESS", 1, 1)
    (error,) = read(mistral, job.error_file)
    assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 422)
    assert where in error["response"]["body"]["detail"][0]["loc"]
    assert emulator.bill()["mistral"]["requests"] == 1


def test_a_schema_is_answered_with_json(mistral: Mistral) -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["apple", "pear"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "fruit", "strict": True, "schema": schema}}
    job = submit(mistral, [line("a", "I ate a pear", response_format=form, max_tokens=50)])
    (each,) = read(mistral, mistral.batch.jobs.get(job_id=job.id).output_file)
    assert json.loads(each["response"]["body"]["choices"][0]["message"]["content"]) == {"label": "pear"}
