"""Anthropic's Message Batches from create to results, as the official SDK sees them."""

import json
from datetime import UTC, datetime, timedelta

import anthropic
import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types.messages import DeletedMessageBatch, MessageBatch, MessageBatchIndividualResponse
from anthropic.types.shared import ErrorResponse
from anthropic_lines import MODEL, ended, request, requests, results, strictly, text_of

from batch_assets.emulator import Emulator

HOUR = 3600


def test_a_batch_ends_with_every_request_once_and_not_in_order(claude: Anthropic, emulator: Emulator) -> None:
    batch = claude.messages.batches.create(requests=requests(200))
    assert batch.processing_status == "in_progress"
    assert batch.request_counts.processing == 200
    assert batch.results_url is None
    batch = ended(claude, batch)
    counts = batch.request_counts
    assert (counts.processing, counts.succeeded, counts.errored, counts.canceled, counts.expired) == (0, 200, 0, 0, 0)
    assert batch.results_url == f"{emulator.url}/v1/messages/batches/{batch.id}/results"
    assert batch.ended_at is not None
    assert batch.created_at <= batch.ended_at < batch.expires_at == batch.created_at + timedelta(hours=24)
    lines = results(claude, batch)
    ids = [line.custom_id for line in lines]
    assert sorted(ids) == sorted(f"row-{i}" for i in range(200))
    assert ids != [f"row-{i}" for i in range(200)]
    by_id = {line.custom_id: line.result for line in lines}
    succeeded = by_id["row-17"]
    assert succeeded.type == "succeeded"
    assert "number 17" in text_of(succeeded.message)
    assert succeeded.message.usage.service_tier == "batch"
    assert len({line.result.message.id for line in lines if line.result.type == "succeeded"}) == 200
    bill = emulator.bill()["anthropic"]
    assert (bill["requests"], bill["surplus"], bill["errors"]) == (200, 0, 0)
    usage = [line.result.message.usage for line in lines if line.result.type == "succeeded"]
    assert bill["input_tokens"] == sum(each.input_tokens for each in usage)
    assert bill["output_tokens"] == sum(each.output_tokens for each in usage)


def test_tallies_are_zero_until_the_whole_batch_ends(claude: Anthropic, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = claude.messages.batches.create(requests=requests(40))
    for seconds in (150, 400, 420):
        emulator.advance(seconds)
        seen = claude.messages.batches.retrieve(batch.id)
        assert seen.processing_status == "in_progress"
        assert seen.request_counts.processing == 40
        assert seen.request_counts.succeeded == 0
        assert seen.ended_at is seen.results_url is None
        with pytest.raises(anthropic.AnthropicError, match="results_url"):
            claude.messages.batches.results(batch.id)
    emulator.advance(40)
    seen = claude.messages.batches.retrieve(batch.id)
    assert (seen.processing_status, seen.request_counts.succeeded) == ("ended", 40)
    assert seen.ended_at == seen.created_at + timedelta(seconds=1000)


def test_cancel_keeps_what_was_executed_and_bills_only_that(claude: Anthropic, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = claude.messages.batches.create(requests=requests(50))
    emulator.advance(525)
    batch = claude.messages.batches.cancel(batch.id)
    assert batch.processing_status == "canceling"
    assert batch.cancel_initiated_at is not None
    assert batch.request_counts.processing == 50
    assert claude.messages.batches.cancel(batch.id).processing_status == "canceling"
    emulator.advance(60)
    batch = claude.messages.batches.retrieve(batch.id)
    counts = batch.request_counts
    assert (batch.processing_status, counts.succeeded, counts.canceled) == ("ended", 25, 25)
    lines = results(claude, batch)
    assert {line.custom_id for line in lines} == {f"row-{i}" for i in range(50)}
    assert sorted(line.result.type for line in lines) == ["canceled"] * 25 + ["succeeded"] * 25
    assert emulator.bill()["anthropic"]["requests"] == 25
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        claude.messages.batches.cancel(batch.id)


def test_after_a_day_the_rest_expires(claude: Anthropic, emulator: Emulator) -> None:
    emulator.set_latency(48 * HOUR)
    batch = claude.messages.batches.create(requests=requests(50))
    emulator.advance(24 * HOUR + 1)
    batch = claude.messages.batches.retrieve(batch.id)
    assert batch.processing_status == "ended"
    assert batch.ended_at == batch.expires_at
    counts = batch.request_counts
    assert counts.expired > 0
    assert counts.succeeded > 0
    assert counts.expired + counts.succeeded == 50
    kinds = [line.result.type for line in results(claude, batch)]
    assert (kinds.count("expired"), kinds.count("succeeded")) == (counts.expired, counts.succeeded)
    assert emulator.bill()["anthropic"]["requests"] == counts.succeeded


def test_results_are_kept_for_29_days(claude: Anthropic, emulator: Emulator) -> None:
    batch = ended(claude, claude.messages.batches.create(requests=requests(3)))
    emulator.advance(29 * 24 * HOUR - 60)
    assert len(results(claude, batch)) == 3
    emulator.advance(120)
    batch = claude.messages.batches.retrieve(batch.id)
    assert batch.archived_at == batch.created_at + timedelta(days=29)
    assert batch.results_url is None
    with pytest.raises(anthropic.NotFoundError):
        claude.get(f"/v1/messages/batches/{batch.id}/results", cast_to=httpx2.Response)


def test_delete(claude: Anthropic, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    batch = claude.messages.batches.create(requests=requests(3))
    with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
        claude.messages.batches.delete(batch.id)
    emulator.advance(1001)
    raw = claude.messages.batches.with_raw_response.delete(batch.id)
    assert strictly(DeletedMessageBatch, raw.text()).id == batch.id
    for call in (claude.messages.batches.retrieve, claude.messages.batches.delete, claude.messages.batches.cancel):
        with pytest.raises(anthropic.NotFoundError):
            call(batch.id)
    assert claude.messages.batches.list().data == []
    assert emulator.bill()["anthropic"]["requests"] == 3


def test_pages_of_the_list_in_both_directions(claude: Anthropic) -> None:
    made = [claude.messages.batches.create(requests=requests(1)).id for _ in range(7)]
    newest_first = made[::-1]
    page = claude.messages.batches.list(limit=3)
    assert [batch.id for batch in page.data] == newest_first[:3]
    assert (page.first_id, page.last_id, page.has_more) == (newest_first[0], newest_first[2], True)
    older = claude.messages.batches.list(limit=3, after_id=newest_first[3])
    assert ([batch.id for batch in older.data], older.has_more) == (newest_first[4:], False)
    newer = claude.messages.batches.list(limit=3, before_id=newest_first[5])
    assert ([batch.id for batch in newer.data], newer.has_more) == (newest_first[2:5], True)
    assert [batch.id for batch in claude.messages.batches.list(limit=2)] == newest_first
    everything = claude.messages.batches.list(limit=1000)
    assert (len(everything.data), everything.has_more) == (7, False)
    none = claude.messages.batches.list(before_id=newest_first[0])
    assert (none.data, none.first_id, none.last_id, none.has_more) == ([], None, None, False)
    for wrong in ({"limit": 0}, {"limit": 1001}, {"after_id": made[0], "before_id": made[1]}):
        with pytest.raises(anthropic.BadRequestError):
            claude.messages.batches.list(**wrong)  # type: ignore[arg-type]
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.list(after_id="msgbatch_none")


def test_workspaces_do_not_see_each_other(claude: Anthropic) -> None:
    batch = claude.messages.batches.create(requests=requests(1), workspace_id="wrkspc_a")
    assert claude.messages.batches.list().data == []
    assert [each.id for each in claude.messages.batches.list(workspace_id="wrkspc_a")] == [batch.id]
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(batch.id)


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize("auth", [{"authorization": "Bearer sk-test"}, {"x-api-key": "sk-test"}])
def test_both_versions_and_both_ways_to_authenticate(emulator: Emulator, version: str, auth: dict[str, str]) -> None:
    url = f"{emulator.url}/v1/messages/batches"
    headers = {**auth, "anthropic-version": version}
    answer = httpx2.post(url, headers=headers, json={"requests": [request("a", temperature=0.5)]})
    batch = strictly(MessageBatch, answer.content)
    while batch.results_url is None:
        batch = strictly(MessageBatch, httpx2.get(f"{url}/{batch.id}", headers=headers).content)
    (line,) = httpx2.get(batch.results_url, headers=headers).content.splitlines()
    result = strictly(MessageBatchIndividualResponse, line).result
    if version == "2023-06-01":
        assert result.type == "succeeded"
    else:
        assert result.type == "errored"
        assert result.error.error.type == "invalid_request_error"
        assert "temperature" in result.error.error.message


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"anthropic-version": "2023-06-01"}, 401, "authentication_error"),
        ({"anthropic-version": "2023-06-01", "x-api-key": "sk-invalid-1"}, 401, "authentication_error"),
        ({"x-api-key": "k"}, 400, "invalid_request_error"),
        ({"anthropic-version": "2020-01-01", "x-api-key": "k"}, 400, "invalid_request_error"),
    ],
)
def test_calls_that_are_refused_at_the_door(
    emulator: Emulator, headers: dict[str, str], status: int, kind: str
) -> None:
    body = {"requests": requests(1000)}
    answer = httpx2.post(f"{emulator.url}/v1/messages/batches", headers=headers, json=body)
    assert answer.status_code == status
    said = strictly(ErrorResponse, answer.content)
    assert said.error.type == kind
    assert said.request_id == answer.headers["request-id"]


def test_every_body_is_what_the_types_of_the_sdk_say(claude: Anthropic, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    emulator.arm("request_error", contains='number 1"', status=529)
    emulator.arm("refusal", contains='number 2"')
    emulator.arm("length", contains='number 3"')
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "additionalProperties": False}
    config = {"format": {"type": "json_schema", "schema": schema}}
    cached = [{"type": "text", "text": "word " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    given = [
        *requests(20),
        request("json", output_config=config),
        request("cached", system=cached),
        request("bad", speed="fast"),
    ]
    calls = claude.messages.batches.with_raw_response
    raw = calls.create(requests=given)
    batch = strictly(MessageBatch, raw.text())
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    strictly(MessageBatch, calls.retrieve(batch.id).text())
    emulator.advance(600)
    strictly(MessageBatch, calls.cancel(batch.id).text())
    emulator.advance(600)
    strictly(MessageBatch, calls.retrieve(batch.id).text())
    page = json.loads(calls.list().text())
    assert page.keys() == {"data", "has_more", "first_id", "last_id"}
    for each in page["data"]:
        strictly(MessageBatch, json.dumps(each))
    with claude.messages.batches.with_streaming_response.results(batch.id) as response:
        lines = [strictly(MessageBatchIndividualResponse, line) for line in response.iter_lines()]
    assert {line.result.type for line in lines} >= {"succeeded", "canceled"}
    assert len(lines) == len(given)


def test_times_are_rfc_3339(claude: Anthropic) -> None:
    raw = claude.messages.batches.with_raw_response.create(requests=requests(1)).text()
    created = json.loads(raw)["created_at"]
    assert created.endswith("+00:00")
    assert abs(datetime.fromisoformat(created) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_batch_may_mix_models(claude: Anthropic) -> None:
    mixed = [request("a"), {**request("b"), "params": {**request("b")["params"], "model": "claude-opus-5-5"}}]
    lines = results(claude, ended(claude, claude.messages.batches.create(requests=mixed)))
    assert {line.custom_id: line.result.message.model for line in lines if line.result.type == "succeeded"} == {
        "a": MODEL,
        "b": "claude-opus-5-5",
    }


async def _results_async(emulator: Emulator) -> list[str]:
    async with anthropic.AsyncAnthropic(base_url=emulator.anthropic_base_url, api_key="k") as client:
        batch = await client.messages.batches.create(requests=requests(5))
        while batch.processing_status != "ended":
            batch = await client.messages.batches.retrieve(batch.id)
        return [line.custom_id async for line in await client.messages.batches.results(batch.id)]


def test_the_async_client(emulator: Emulator) -> None:
    import asyncio

    assert sorted(asyncio.run(_results_async(emulator))) == [f"row-{i}" for i in range(5)]


def test_a_path_that_is_not_emulated(claude: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not emulated"):
        claude.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": "hi"}])
