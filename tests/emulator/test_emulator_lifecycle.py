"""A batch from upload to result files, as the official SDK sees it."""

import json
import urllib.request

import pytest
from batch_lines import CHAT, chat_lines, content, ended, jsonl, results, submit
from openai import AzureOpenAI, ConflictError, NotFoundError, OpenAI

from batch_assets.emulator import Emulator

HOUR = 3600


def test_a_batch_completes_with_every_request_once_and_not_in_order(client: OpenAI, emulator: Emulator) -> None:
    batch = submit(client, chat_lines(200), metadata={"plan": "p-1", "ünï": "ço\nde"})
    assert batch.status == "validating"
    assert batch.request_counts is not None
    assert batch.request_counts.total == 0
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert batch.metadata == {"plan": "p-1", "ünï": "ço\nde"}
    assert batch.model == "gpt-5-mini"
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (200, 200, 0)
    assert batch.error_file_id is None
    lines = results(client, batch.output_file_id)
    ids = [each["custom_id"] for each in lines]
    assert sorted(ids) == sorted(f"row-{i}" for i in range(200))
    assert ids != [f"row-{i}" for i in range(200)]
    assert len({each["id"] for each in lines}) == 200
    by_id = {each["custom_id"]: each for each in lines}
    assert "number 17" in content(by_id["row-17"])
    usage = [each["response"]["body"]["usage"] for each in lines]
    assert batch.usage is not None
    assert batch.usage.input_tokens == sum(each["prompt_tokens"] for each in usage)
    assert batch.usage.output_tokens == sum(each["completion_tokens"] for each in usage)
    assert batch.usage.total_tokens == sum(each["total_tokens"] for each in usage)
    assert emulator.bill()["openai"]["requests"] == 200


def test_every_status_is_passed_through(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = submit(client, chat_lines(40))
    seen = [client.batches.retrieve(batch.id)]
    for seconds in (150, 400, 420, 40):  # to 150, 550, 970 and 1010 seconds
        emulator.advance(seconds)
        seen.append(client.batches.retrieve(batch.id))
    assert [each.status for each in seen] == ["validating", "in_progress", "in_progress", "finalizing", "completed"]
    done = [each.request_counts.completed for each in seen if each.request_counts is not None]
    assert done[0] == 0
    assert 0 <= done[1] < done[2] < done[3] == 40
    last = seen[-1]
    assert last.created_at + 100 == last.in_progress_at
    assert last.created_at + 950 == last.finalizing_at
    assert last.created_at + 1000 == last.completed_at
    assert last.expires_at == last.created_at + 24 * HOUR
    assert all(each.output_file_id is None for each in seen[:-1])
    assert last.output_file_id is not None


def test_cancel_keeps_what_was_executed_and_bills_only_that(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = submit(client, chat_lines(50))
    emulator.advance(525)  # half of the running time
    batch = client.batches.cancel(batch.id)
    assert batch.status == "cancelling"
    assert client.batches.cancel(batch.id).status == "cancelling"
    emulator.advance(60)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelled_at is not None
    assert batch.request_counts is not None
    assert batch.request_counts.total == 50
    done, left = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert len(done) == batch.request_counts.completed == emulator.bill()["openai"]["requests"] == 25
    assert {each["custom_id"] for each in done + left} == {f"row-{i}" for i in range(50)}
    assert all(each["response"] is None and each["error"]["code"] == "batch_cancelled" for each in left)
    with pytest.raises(ConflictError, match="cancelled"):
        client.batches.cancel(batch.id)


def test_cancel_before_validation_executes_nothing(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = submit(client, chat_lines(5))
    client.batches.cancel(batch.id)
    emulator.advance(100)
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("cancelled", None, None)
    assert emulator.bill() == {}


def test_a_batch_slower_than_its_window_expires_with_partial_results(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_latency(48 * HOUR)
    batch = submit(client, chat_lines(100))
    emulator.advance(25 * HOUR)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "expired"
    assert batch.expired_at == batch.expires_at
    done, left = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert 0 < len(done) < 100
    assert len(done) + len(left) == 100
    assert left[0]["error"] == {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
    assert emulator.bill()["openai"]["requests"] == len(done)


def test_batches_are_listed_newest_first_in_pages(client: OpenAI) -> None:
    assert client.batches.list().data == []
    file = client.files.create(file=("in.jsonl", jsonl(chat_lines(1))), purpose="batch")
    made = [
        client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"n": str(n)}).id
        for n in range(7)
    ]
    first = client.batches.list(limit=3)
    assert [each.id for each in first.data] == made[::-1][:3]
    assert first.has_more
    assert [each.id for each in client.batches.list(limit=3)] == made[::-1]  # the SDK turns the pages
    last = client.batches.list(after=made[2], limit=2)
    assert [each.id for each in last.data] == [made[1], made[0]]
    assert not last.has_more
    with pytest.raises(NotFoundError):
        client.batches.list(after="batch_none")


def test_files_are_listed_read_and_deleted(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", b"{}\n"), purpose="batch").id for n in range(5)]
    other = client.files.create(file=("notes.txt", b"notes"), purpose="user_data")
    assert other.expires_at is None
    assert [each.id for each in client.files.list()] == [other.id, *made[::-1]]
    assert [each.id for each in client.files.list(order="asc", purpose="batch", limit=2)] == made
    page = client.files.list(order="asc", limit=2)
    assert page.has_more
    assert client.files.retrieve(made[0]).filename == "0.jsonl"
    assert client.files.content(other.id).content == b"notes"
    assert client.files.delete(made[0]).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError):
            call(made[0])


def test_files_expire(client: OpenAI, emulator: Emulator) -> None:
    brief = client.files.create(
        file=("a.jsonl", b"{}"), purpose="batch", expires_after={"anchor": "created_at", "seconds": HOUR}
    )
    usual = client.files.create(file=("b.jsonl", b"{}"), purpose="batch")
    assert brief.expires_at == brief.created_at + HOUR
    assert usual.expires_at == usual.created_at + 30 * 24 * HOUR
    emulator.advance(HOUR + 1)
    assert [each.id for each in client.files.list()] == [usual.id]
    with pytest.raises(NotFoundError):
        client.batches.create(input_file_id=brief.id, endpoint=CHAT, completion_window="24h")


def test_result_files_expire_when_told(client: OpenAI, emulator: Emulator) -> None:
    after = {"anchor": "created_at", "seconds": HOUR}
    batch = ended(client, submit(client, chat_lines(2), output_expires_after=after))
    assert batch.output_file_id is not None
    assert len(results(client, batch.output_file_id)) == 2
    emulator.advance(HOUR + 1)
    with pytest.raises(NotFoundError):
        client.files.content(batch.output_file_id)


def test_deleting_the_input_stops_a_validating_batch_and_not_a_running_one(client: OpenAI, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    early, late = (submit(client, chat_lines(4)) for _ in range(2))
    client.files.delete(early.input_file_id)
    emulator.advance(200)
    client.files.delete(late.input_file_id)
    emulator.advance(1000)
    assert client.batches.retrieve(early.id).status == "failed"
    assert client.batches.retrieve(late.id).status == "completed"
    assert emulator.bill()["openai"]["requests"] == 4


def test_headers_that_the_sdk_reads(client: OpenAI, emulator: Emulator) -> None:
    batch = submit(client, chat_lines(1))
    assert batch._request_id is not None
    assert batch._request_id.startswith("req_")
    raw = client.batches.with_raw_response.list()
    assert raw.headers["openai-organization"] == "org-emulator"
    with pytest.raises(NotFoundError) as caught:
        client.batches.retrieve("batch_none")
    assert caught.value.request_id is not None
    assert caught.value.body == {
        "message": "No batch found with id 'batch_none'.",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }


def test_organizations_and_projects_do_not_see_each_other(client: OpenAI) -> None:
    batch = submit(client, chat_lines(1))
    other = client.with_options(organization="org-other")
    assert other.batches.list().data == []
    with pytest.raises(NotFoundError):
        other.batches.retrieve(batch.id)
    assert client.with_options(project="p").files.list().data == []


def test_compatible_hosts_paths(emulator: Emulator) -> None:
    with OpenAI(base_url=f"{emulator.url}/openai/v1", api_key="gsk", max_retries=0) as groq:
        batch = submit(groq, chat_lines(2))
        assert ended(groq, batch).status == "completed"
        longer = groq.batches.create(
            input_file_id=batch.input_file_id,
            endpoint=CHAT,
            completion_window="7d",  # type: ignore[arg-type]
        )
        assert longer.expires_at == longer.created_at + 7 * 24 * HOUR
    with AzureOpenAI(azure_endpoint=emulator.url, api_key="azure", api_version="2026-01-01", max_retries=0) as azure:
        assert ended(azure, submit(azure, chat_lines(2))).status == "completed"


def test_an_unknown_path_is_an_error_of_the_provider(client: OpenAI, emulator: Emulator) -> None:
    with pytest.raises(NotFoundError, match="Invalid URL"):
        client.get("/assistants", cast_to=object)
    with urllib.request.urlopen(f"{emulator.url}/_emulator/health") as answer:
        health = json.load(answer)
    assert health["status"] == "ok"
    assert "openai" in health["providers"]


def test_the_last_line_needs_no_newline_and_lines_may_hold_any_text(client: OpenAI) -> None:
    texts = [
        'quote " and \\ backslash',
        "line\nbreak\r\n\u2028\u0085",
        "emoji 🙂 中文 العربية",
        "",
        "\t",
        "x" * 200_000,
    ]
    lines = jsonl(
        {**each, "custom_id": f"id {i} ✓"}
        for i, each in enumerate(
            {"method": "POST", "url": CHAT, "body": {"model": "m", "messages": [{"role": "user", "content": text}]}}
            for text in texts
        )
    )
    batch = ended(client, submit(client, lines.rstrip(b"\n")))
    assert batch.status == "completed"
    assert {each["custom_id"] for each in results(client, batch.output_file_id)} == {f"id {i} ✓" for i in range(6)}
