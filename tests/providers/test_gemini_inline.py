"""Small nights at the Gemini API: requests in the create call, results in the batch, and no file at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from batch_assets.emulator import Emulator
from batch_assets.errors import Ambiguous, Blocked, ConfigError, ProviderError, QueueFull, Refused, Transient
from batch_assets.provider_contract.contract import SCHEMA, STAMP, Bench, texts
from batch_assets.provider_contract.night_faults import FAULTS
from batch_assets.provider_contract.nights import Nights
from batch_assets.provider_contract.requests import ODD_TEXTS
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.gemini_operations import newest_first
from batch_assets.records import BatchInfo, BatchPhase, Ending, Outcome

CREATING = [name for name in FAULTS if name.startswith(("create", "list"))]


@pytest.fixture
def bench(batch_emulator: Emulator) -> Bench:
    provider = GeminiProvider(max_retries=0)
    return Bench(provider=provider, emulator=batch_emulator, model="gemini-3-flash-preview", emulated="gemini")


def test_there_is_no_file(bench: Bench) -> None:
    batch = bench.ended(bench.send(texts(20)))
    assert (batch.stamp, batch.input_file, batch.ending) == (STAMP, None, Ending.COMPLETED)
    assert (batch.total, batch.completed, batch.failed) == (20, 20, 0)
    assert {result.outcome for result in bench.results(batch)} == {Outcome.SUCCEEDED}
    assert list(bench.provider.input_files()) == []
    assert bench.listed() == [batch]
    assert bench.bill["requests"] == 20


def test_larger_ones_have_one(bench: Bench) -> None:
    line_bytes = len(bench.lines(texts(1))[0])
    for spare, inline in ((0, True), (-1, False)):
        provider = GeminiProvider(inline_bytes=line_bytes + spare)
        uploaded = provider.upload("x.jsonl", iter(bench.lines(texts(1))))
        assert (uploaded is None) == inline
    assert GeminiProvider().upload("x.jsonl", iter([b"x" * 500_001])) is not None
    with pytest.raises(ConfigError, match="`inline_bytes` is 20000000"):
        GeminiProvider(inline_bytes=20_000_000)


def test_odd_texts_schemas_and_all_outcomes(bench: Bench) -> None:
    bench.emulator.arm("request_error", contains="quotes", status=500)
    bench.emulator.arm("refusal", contains="emoji")
    results = bench.run(ODD_TEXTS, bench.request(system='Be "kind".\n', json_schema=SCHEMA))
    found = [(result.outcome, result.curable) for result in results]
    expected = [(Outcome.SUCCEEDED, False)] * len(ODD_TEXTS)
    expected[0], expected[3] = (Outcome.ERRORED, True), (Outcome.ERRORED, False)
    assert found == expected


def test_the_sdk_sees_what_we_send(bench: Bench) -> None:
    batch = bench.ended(bench.send(texts(3)))
    with genai.Client(api_key="k", http_options={"api_version": "v1beta"}) as client:
        seen = client.batches.get(name=f"batches/{batch.batch_id}")
    responses = seen.dest.inlined_responses
    assert [each.metadata["key"] for each in responses] == bench.ids(texts(3))  # in the order of the requests
    by_key = {result.custom_id: result.text for result in bench.results(batch)}
    assert [each.response.text for each in responses] == list(by_key.values())


def test_what_the_sdk_sends_is_answered(batch_emulator: Emulator) -> None:
    requests: list[Any] = [
        {"contents": "hello there", "metadata": {"key": "a"}},
        types.InlinedRequest(contents="and hello to you", config={"system_instruction": "Be kind."}),
    ]
    with genai.Client(api_key="k", http_options={"api_version": "v1beta"}) as client:
        made = client.batches.create(model="gemini-3-flash-preview", src=requests, config={"display_name": "x"})
        while (batch := client.batches.get(name=made.name)).state != types.JobState.JOB_STATE_SUCCEEDED:
            pass
    first, second = batch.dest.inlined_responses
    assert (first.metadata, second.metadata) == ({"key": "a"}, None)
    assert "hello" in first.response.text
    assert "hello" in second.response.text


@pytest.mark.parametrize("outcome", ["expired", "canceled"])
def test_what_was_finished_is_kept(bench: Bench, outcome: str) -> None:
    bench.emulator.arm(outcome, fraction=0.25)
    batch = bench.ended(bench.send(texts(40)))
    assert len(bench.results(batch)) == bench.bill["requests"] == (0 if outcome == "expired" else 10)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"fault": "refused", "status": 400}, Refused),
        ({"fault": "refused", "status": 403}, Blocked),
        ({"fault": "refused", "status": 429}, QueueFull),
        ({"fault": "refused", "status": 500}, Ambiguous),
        ({"fault": "proxy_error", "status": 400}, Ambiguous),
        ({"fault": "proxy_error", "status": 200}, Ambiguous),
        ({"fault": "drop"}, Ambiguous),
        ({"fault": "hang"}, Ambiguous),
        ({"fault": "upload_cut"}, Ambiguous),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_create_that_fails(bench: Bench, fault: dict[str, Any], kind: type[ProviderError]) -> None:
    bench.emulator.arm(operation="batches.create", **fault)
    with pytest.raises(ProviderError) as caught:
        bench.send(texts(3), timeout_seconds=0.5)
    assert type(caught.value) is kind
    assert bench.listed() == []


@pytest.mark.parametrize("fault", ["accept_then_drop", "accept_then_error", "accept_then_proxy_error"])
def test_a_create_is_sent_once(bench: Bench, fault: str) -> None:
    bench.emulator.arm(fault, operation="batches.create")
    with pytest.raises(Ambiguous):
        bench.send(texts(3))
    assert len(bench.listed()) == 1


def test_results_that_are_cut_off(bench: Bench) -> None:
    batch = bench.ended(bench.send(texts(20)))
    bench.emulator.arm("drop", operation="batches.retrieve")
    with pytest.raises(Transient):
        list(bench.provider.results(batch))
    assert len(bench.results(batch)) == 20


@pytest.mark.parametrize("name", CREATING)
def test_a_night_is_paid_for_once(bench: Bench, tmp_path: Path, name: str) -> None:
    for fault in FAULTS[name]:
        bench.emulator.arm(**fault)
    nights = Nights(bench, tmp_path)
    landing, rows = nights.land(nights.plan(texts(10)))
    assert landing.outcomes == {"succeeded": 10}, nights.log
    assert [row["text"] for row in rows] == texts(10)
    assert (bench.bill["requests"], bench.bill["surplus"]) == (10, 0)


# ---------------------------------------------------------------- the order of the list


def listed(*minutes: int) -> list[BatchInfo]:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    batch = BatchInfo(batch_id="", phase=BatchPhase.RUNNING, raw_status="", created_at=start, stamp=None)
    return [replace(batch, batch_id=str(at), created_at=start + timedelta(minutes=at)) for at in minutes]


def test_a_list_in_any_order_is_read_newest_first() -> None:
    read = []

    def pages(*each: list[BatchInfo]) -> Iterator[list[BatchInfo]]:
        for page in each:
            read.append(len(page))
            yield page

    def ids(*each: list[BatchInfo]) -> list[str]:
        return [batch.batch_id for batch in newest_first(pages(*each))]

    assert ids() == []
    assert ids(listed(5, 4), listed(3, 1)) == ["5", "4", "3", "1"]
    assert ids(listed(1, 3), listed(4, 5)) == ["5", "4", "3", "1"]
    read.clear()
    assert next(newest_first(pages(listed(5, 4), listed(3)))).batch_id == "5"
    assert read == [2]  # one page is enough where the order is as it should be


def test_a_result_without_its_key_is_a_line_that_cannot_be_read(bench: Bench) -> None:
    line = b'{"key":null,"response":{}}'
    assert bench.provider.custom_id(line) is None
    with pytest.raises(ValueError, match=r"."):
        bench.provider.parse(line)
