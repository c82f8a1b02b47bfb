"""Every fault strikes where it is armed, as often as it is armed, and does to the bill what it says."""

import json
import time
import urllib.error
from typing import Any

import httpx2
import pytest
from batch_lines import CHAT, chat_line, chat_lines, content, ended, jsonl, results, submit
from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    RateLimitError,
)
from openai.types import FileObject

from batch_assets.emulator import Emulator
from batch_assets.emulator.faults import CATALOGUE


@pytest.fixture
def file(client: OpenAI) -> FileObject:
    return client.files.create(file=("in.jsonl", jsonl(chat_lines(20))), purpose="batch")


def create(client: OpenAI, file: FileObject, fault: str | None = None) -> Any:
    headers = {"x-batch-assets-fault": fault} if fault else None
    return client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", extra_headers=headers)


# -- calls ---------------------------------------------------------------------------------------------------------


def test_accepted_then_dropped(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("accept_then_drop", operation="batches.create")
    with pytest.raises(APIConnectionError):
        create(client, file)
    (batch,) = client.batches.list().data
    assert ended(client, batch).status == "completed"
    assert emulator.bill()["openai"]["requests"] == 20


def test_the_default_retries_of_the_sdk_pay_twice(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("accept_then_drop", operation="batches.create")
    batch = create(client.with_options(max_retries=2), file)
    assert len(client.batches.list().data) == 2
    ended(client, batch)
    bill = emulator.bill()["openai"]
    assert (bill["requests"], bill["duplicates"], bill["surplus"]) == (40, 20, 20)


def test_accepted_then_500(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("accept_then_error", operation="batches.create", status=500)
    with pytest.raises(InternalServerError) as caught:
        create(client, file)
    assert caught.value.type == "server_error"
    assert len(client.batches.list().data) == 1


def test_accepted_then_a_page_of_a_proxy(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("accept_then_proxy_error", operation="batches.create")
    with pytest.raises(InternalServerError) as caught:
        create(client, file)
    assert caught.value.status_code == 502
    assert "<html>" in caught.value.response.text
    assert len(client.batches.list().data) == 1


def test_accepted_then_silence(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("accept_then_hang", operation="batches.create")
    with pytest.raises(APITimeoutError):
        create(client.with_options(timeout=0.3), file)
    assert len(client.batches.list().data) == 1


def test_dropped_and_accepted_later(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("drop_then_accept", operation="batches.create", seconds=600)
    with pytest.raises(APIConnectionError):
        create(client, file)
    assert client.batches.list().data == []
    emulator.advance(601)
    deadline = time.monotonic() + 5
    while not client.batches.list().data and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(client.batches.list().data) == 1


def test_a_late_create_without_its_input_makes_no_batch(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    with pytest.raises(APIConnectionError):
        create(client, file, "drop_then_accept; seconds=600")
    client.files.delete(file.id)
    emulator.advance(601)
    time.sleep(0.1)
    assert client.batches.list().data == []


@pytest.mark.parametrize("fault", ["drop", "hang", "proxy_error"])
def test_nothing_accepted(client: OpenAI, emulator: Emulator, file: FileObject, fault: str) -> None:
    emulator.arm(fault, operation="batches.create")
    with pytest.raises((APIConnectionError, InternalServerError)):
        create(client.with_options(timeout=0.3), file)
    assert client.batches.list().data == []
    create(client, file)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 429, 500, 503, 529])
def test_refused(client: OpenAI, emulator: Emulator, file: FileObject, status: int) -> None:
    emulator.arm(str(status), operation="batches.create")
    with pytest.raises(APIStatusError) as caught:
        create(client, file)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert client.batches.list().data == []
    create(client, file)


def test_refused_with_words_and_retry_after(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    words = {"code": "insufficient_quota", "type": "insufficient_quota", "message": "You exceeded your current quota."}
    emulator.arm("refused", operation="*", status=429, retry_after=7, **words)
    with pytest.raises(RateLimitError, match="exceeded your current quota") as caught:
        client.batches.list()
    assert caught.value.response.headers["retry-after"] == "7"
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")


def test_uploads_that_break_off(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("upload_cut", operation="files.create", after_bytes=100_000)
    with pytest.raises(APIConnectionError):
        client.files.create(file=("in.jsonl", b"x" * 20_000_000), purpose="batch")
    emulator.arm("refused", operation="files.create", status=413)
    with pytest.raises(APIStatusError):
        client.files.create(file=("in.jsonl", b"x" * 20_000_000), purpose="batch")
    assert client.files.list().data == []


def test_times_and_after(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("500", operation="batches.list", times=2, after=1)
    outcomes = []
    for _ in range(5):
        try:
            client.batches.list()
            outcomes.append("ok")
        except InternalServerError:
            outcomes.append("500")
    assert outcomes == ["ok", "500", "500", "ok", "ok"]
    (fault,) = emulator.faults()
    assert (fault["fired"], fault["times"]) == (2, 2)


def test_faults_are_cleared_and_meant_for_a_provider(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("500", operation="batches.list", provider="mistral")
    client.batches.list()
    emulator.arm("500", operation="batches.list", times=99)
    emulator.clear_faults()
    client.batches.list()
    assert emulator.faults() == []


def test_a_slow_call(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("slow", operation="batches.list", seconds=0.3)
    started = time.monotonic()
    client.batches.list()
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    "spec",
    [
        {"fault": "nonsense", "operation": "batches.create"},
        {"fault": "drop", "operation": "nonsense"},
        {"fault": "drop"},
        {"fault": "refused", "operation": "batches.create", "sttaus": 500},
        {"fault": "refused", "operation": "batches.create", "status": "many"},
        {"fault": "refused", "operation": "batches.create", "times": 0},
    ],
)
def test_a_fault_that_is_not_known_is_refused(emulator: Emulator, spec: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        emulator.arm(**spec)
    with caught.value as error:
        assert error.code == 400
        assert json.load(error)["error"]


def test_an_unknown_fault_in_the_header_is_refused(client: OpenAI, file: FileObject) -> None:
    with pytest.raises(BadRequestError, match="unknown fault 'nonsense'"):
        create(client, file, "nonsense")


# -- what becomes of a batch -----------------------------------------------------------------------------------------


def test_listings_that_lag(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    emulator.arm("list_lag", lists=2)
    batch = create(client, file)
    assert [len(client.batches.list().data) for _ in range(3)] == [0, 0, 1]
    emulator.arm("list_lag", seconds=60)
    later = create(client, file)
    assert [each.id for each in client.batches.list().data] == [batch.id]
    assert client.batches.retrieve(later.id).id == later.id
    emulator.advance(61)
    assert [each.id for each in client.batches.list().data] == [later.id, batch.id]


def test_a_lagging_batch_whose_reply_was_lost(client: OpenAI, file: FileObject) -> None:
    with pytest.raises(APIConnectionError):
        create(client, file, "accept_then_drop, list_lag; lists=1")
    assert client.batches.list().data == []
    assert len(client.batches.list().data) == 1


def test_an_unknown_status(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = create(client, file)
    emulator.arm("unknown_status", operation="batches.retrieve", status="hibernating")
    assert str(client.batches.retrieve(batch.id).status) == "hibernating"
    assert client.batches.retrieve(batch.id).status == "completed"
    emulator.arm("unknown_status", operation="batches.list")
    assert str(client.batches.list().data[0].status) == "paused"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("validation_failed; code=billing_hard_limit_reached", "billing_hard_limit_reached"),
        ("token_limit_exceeded", "token_limit_exceeded"),
    ],
)
def test_failed_after_it_was_accepted(
    client: OpenAI, emulator: Emulator, file: FileObject, fault: str, code: str
) -> None:
    batch = ended(client, create(client, file, fault))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert batch.errors.data[0].code == code
    assert emulator.bill() == {}


def test_stuck_beyond_the_window(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = create(client, file, "stuck; fraction=0.25")
    emulator.advance(3 * 86_400)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "in_progress"
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 5
    client.batches.cancel(batch.id)
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    assert len(results(client, batch.output_file_id)) == 5


@pytest.mark.parametrize(("fault", "status"), [("expired", "expired"), ("canceled", "cancelled")])
@pytest.mark.parametrize(("fraction", "done"), [(0, 0), (0.3, 6), (1, 20)])
def test_ended_early(
    client: OpenAI, emulator: Emulator, file: FileObject, *, fault: str, status: str, fraction: float, done: int
) -> None:
    emulator.arm(fault, fraction=fraction)
    batch = ended(client, create(client, file))
    assert batch.status == status
    finished = results(client, batch.output_file_id) if done else []
    left = results(client, batch.error_file_id) if done < 20 else []
    assert (batch.output_file_id is None, batch.error_file_id is None) == (done == 0, done == 20)
    assert (len(finished), len(left)) == (done, 20 - done)
    assert emulator.bill().get("openai", {"requests": 0})["requests"] == done


def test_result_files_that_are_missing(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = ended(client, create(client, file, "no_result_files"))
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", None, None)
    batch = ended(client, create(client, file, "result_files_gone"))
    assert batch.output_file_id is not None
    with pytest.raises(NotFoundError):
        client.files.content(batch.output_file_id)
    assert emulator.bill()["openai"]["requests"] == 40


def test_a_batch_that_vanishes(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = create(client, file, "vanished")
    with pytest.raises(NotFoundError):
        client.batches.retrieve(batch.id)
    assert client.batches.list().data == []
    assert emulator.bill() == {}


# -- downloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "params", "lines", "ours"),
    [
        ("duplicated_lines", {"count": 3}, 23, 23),
        ("dropped_lines", {"count": 3}, 17, 17),
        ("foreign_lines", {"count": 3}, 23, 20),
        ("empty", {}, 0, 0),
    ],
)
def test_spoiled_lines(
    client: OpenAI, emulator: Emulator, file: FileObject, *, fault: str, params: dict[str, Any], lines: int, ours: int
) -> None:
    batch = ended(client, create(client, file))
    clean = results(client, batch.output_file_id)
    emulator.arm(fault, times=2, **params)
    spoiled, again = results(client, batch.output_file_id), results(client, batch.output_file_id)
    assert spoiled == again
    assert len(spoiled) == lines
    assert sum(each["custom_id"].startswith("row-") for each in spoiled) == ours
    assert results(client, batch.output_file_id) == clean


def test_garbled_lines(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = ended(client, create(client, file))
    emulator.arm("garbled_lines", count=2)
    bad = 0
    for each in client.files.content(batch.output_file_id or "").content.splitlines():
        try:
            json.loads(each)
        except ValueError:
            bad += 1
    assert bad == 2


def test_truncated_in_the_middle_of_a_line(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = ended(client, create(client, file))
    whole = client.files.content(batch.output_file_id or "").content
    emulator.arm("truncated", fraction=0.7)
    part = client.files.content(batch.output_file_id or "").content
    assert whole.startswith(part)
    assert len(whole) * 0.6 < len(part) < len(whole) * 0.75
    with pytest.raises(ValueError, match=r"."):
        json.loads(part.splitlines()[-1])


def test_the_connection_is_cut_in_a_download(client: OpenAI, emulator: Emulator, file: FileObject) -> None:
    batch = ended(client, create(client, file))
    emulator.arm("cut", after_bytes=3000)
    received = b""
    with (
        pytest.raises(httpx2.TransportError),
        client.files.with_streaming_response.content(batch.output_file_id or "") as response,
    ):
        for chunk in response.iter_bytes(500):
            received += chunk
    assert 0 < len(received) <= 3000
    assert len(results(client, batch.output_file_id)) == 20


def test_a_fault_can_be_meant_for_the_error_file(client: OpenAI, emulator: Emulator) -> None:
    batch = ended(client, submit(client, [chat_line("good"), chat_line("bad", stream=True)]))
    emulator.arm("empty", kind="errors")
    assert len(results(client, batch.output_file_id)) == 1
    assert results(client, batch.error_file_id) == []
    assert len(results(client, batch.error_file_id)) == 1


# -- single requests -------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}


def run(client: OpenAI, count: int = 4) -> dict[str, dict[str, Any]]:
    lines = [chat_line(f"row-{i}", f"number {i} please and thank you", response_format=FORM) for i in range(count)]
    batch = ended(client, submit(client, lines))
    assert batch.status == "completed"
    found = results(client, batch.output_file_id) if batch.output_file_id else []
    found += results(client, batch.error_file_id) if batch.error_file_id else []
    return {each["custom_id"]: each for each in found}


def test_a_request_is_answered_with_an_error_once(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("request_error", contains="number 2 ", status=429, code="rate_limit_exceeded")
    first, second = run(client), run(client)
    assert first["row-2"]["response"]["status_code"] == 429
    assert first["row-2"]["response"]["body"]["error"]["code"] == "rate_limit_exceeded"
    assert {first[key]["response"]["status_code"] for key in ("row-0", "row-1", "row-3")} == {200}
    assert second["row-2"]["response"]["status_code"] == 200
    assert emulator.bill()["openai"] | {"requests": 7, "errors": 1, "duplicates": 3} == emulator.bill()["openai"]


def test_each_request_fails_its_first_times(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("request_error", each=True, times=2)
    statuses = [{each["response"]["status_code"] for each in run(client).values()} for _ in range(3)]
    assert statuses == [{500}, {500}, {200}]
    assert emulator.bill()["openai"]["surplus"] == 0


def test_bad_answers(client: OpenAI, emulator: Emulator) -> None:
    emulator.arm("invalid_json", contains="number 0 ")
    emulator.arm("schema_violation", contains="number 1 ")
    emulator.arm("refusal", contains="number 2 ")
    emulator.arm("length", contains="number 3 ")
    emulator.arm("content_filter", contains="number 4 ")
    found = run(client, 6)
    choices = {key: each["response"]["body"]["choices"][0] for key, each in found.items()}
    with pytest.raises(ValueError, match=r"."):
        json.loads(content(found["row-0"]))
    assert not isinstance(json.loads(content(found["row-1"]))["number"], int)
    assert choices["row-2"]["message"]["content"] is None
    assert choices["row-2"]["message"]["refusal"]
    assert choices["row-3"]["finish_reason"] == "length"
    assert choices["row-4"]["finish_reason"] == "content_filter"
    assert json.loads(content(found["row-5"])) == {"number": 5}
    assert emulator.bill()["openai"]["requests"] == 6


def test_the_catalogue_is_shown(emulator: Emulator) -> None:
    assert emulator._call("GET", "faults")["known"].keys() == CATALOGUE.keys()
