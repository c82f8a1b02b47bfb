"""Faults at Anthropic's wire: each strikes as it does at any other, in this provider's words."""

import json
import time
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types.shared import ErrorResponse
from anthropic_lines import ended, request, requests, results, run, strictly, text_of

from batch_assets.emulator import Emulator, SpawnedEmulator


def create(claude: Anthropic, count: int = 20, fault: str | None = None) -> Any:
    headers = {"x-batch-assets-fault": fault} if fault else None
    return claude.messages.batches.create(requests=requests(count), extra_headers=headers)


def listed(claude: Anthropic) -> int:
    return len(claude.messages.batches.list().data)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("accept_then_drop", anthropic.APIConnectionError),
        ("accept_then_error", anthropic.InternalServerError),
        ("accept_then_proxy_error", anthropic.InternalServerError),
        ("accept_then_hang", anthropic.APITimeoutError),
    ],
)
def test_accepted_and_then_no_answer(
    claude: Anthropic, emulator: Emulator, fault: str, error: type[anthropic.APIError]
) -> None:
    emulator.arm(fault, operation="batches.create", provider="anthropic")
    with pytest.raises(error):
        create(claude.with_options(timeout=0.5))
    (batch,) = claude.messages.batches.list().data
    assert ended(claude, batch).request_counts.succeeded == 20
    assert emulator.bill()["anthropic"]["requests"] == 20


def test_the_default_retries_of_the_sdk_pay_twice(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("accept_then_drop", operation="batches.create")
    ended(claude, create(claude.with_options(max_retries=2)))
    assert listed(claude) == 2
    assert emulator.bill()["anthropic"]["surplus"] == 20


@pytest.mark.parametrize("fault", ["drop", "hang", "proxy_error", "upload_cut"])
def test_nothing_accepted(claude: Anthropic, emulator: Emulator, fault: str) -> None:
    emulator.arm(fault, operation="batches.create")
    with pytest.raises((anthropic.APIConnectionError, anthropic.InternalServerError)):
        create(claude.with_options(timeout=0.5))
    assert listed(claude) == 0
    create(claude)


def test_dropped_and_accepted_later(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("drop_then_accept", operation="batches.create", seconds=600)
    with pytest.raises(anthropic.APIConnectionError):
        create(claude)
    assert listed(claude) == 0
    emulator.advance(601)
    deadline = time.monotonic() + 5
    while not listed(claude) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert listed(claude) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_refused(claude: Anthropic, emulator: Emulator, status: int, kind: str) -> None:
    emulator.arm(str(status), operation="batches.create")
    with pytest.raises(anthropic.APIStatusError) as caught:
        create(claude)
    assert (caught.value.status_code, caught.value.type) == (status, kind)
    said = strictly(ErrorResponse, caught.value.response.content)
    assert said.request_id == caught.value.request_id
    assert listed(claude) == 0


def test_the_classes_of_the_sdk(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("refused", operation="batches.create", status=429, code="enforced_spend_limit_reached")
    with pytest.raises(anthropic.EnforcedSpendLimitReachedError):
        create(claude)
    emulator.arm("refused", operation="batches.create", status=529, message="Overloaded for a while", retry_after=7)
    with pytest.raises(anthropic.OverloadedError, match="for a while") as caught:
        create(claude)
    assert caught.value.response.headers["retry-after"] == "7"
    emulator.arm("402", operation="batches.create")
    with pytest.raises(anthropic.PaymentRequiredError):
        create(claude)


def test_listings_that_lag_fail_and_are_slow(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("list_lag", lists=2)
    batch = create(claude)
    assert [listed(claude) for _ in range(3)] == [0, 0, 1]
    assert claude.messages.batches.retrieve(batch.id).id == batch.id
    emulator.arm("500", operation="batches.list")
    with pytest.raises(anthropic.InternalServerError):
        listed(claude)
    emulator.arm("slow", operation="batches.list", seconds=0.2)
    before = time.monotonic()
    assert listed(claude) == 1
    assert time.monotonic() - before >= 0.2


def test_an_unknown_status(claude: Anthropic, emulator: Emulator) -> None:
    batch = create(claude)
    for operation in ("batches.retrieve", "batches.list"):
        emulator.arm("unknown_status", operation=operation, status="paused")
    status: str = claude.messages.batches.retrieve(batch.id).processing_status
    assert status == "paused"
    assert [str(each.processing_status) for each in claude.messages.batches.list()] == ["paused"]
    assert claude.messages.batches.retrieve(batch.id).processing_status in ("in_progress", "ended")


@pytest.mark.parametrize(("fault", "kind"), [("expired", "expired"), ("canceled", "canceled")])
def test_ends_with_a_part_of_the_results(claude: Anthropic, emulator: Emulator, fault: str, kind: str) -> None:
    emulator.arm(fault, fraction=0.25)
    batch = ended(claude, create(claude))
    assert (batch.request_counts.succeeded, getattr(batch.request_counts, kind)) == (5, 15)
    kinds = [line.result.type for line in results(claude, batch)]
    assert sorted(kinds) == sorted(["succeeded"] * 5 + [kind] * 15)
    assert emulator.bill()["anthropic"]["requests"] == 5


def test_stuck_for_longer_than_the_window_and_vanished(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("stuck")
    batch = create(claude)
    emulator.advance(3 * 86_400)
    assert claude.messages.batches.retrieve(batch.id).processing_status == "in_progress"
    emulator.arm("vanished")
    batch = create(claude)
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.batches.retrieve(batch.id)
    assert listed(claude) == 1


def test_results_that_are_gone(claude: Anthropic, emulator: Emulator) -> None:
    emulator.arm("no_result_files")
    assert ended(claude, create(claude)).results_url is None
    emulator.arm("result_files_gone")
    batch = ended(claude, create(claude))
    assert batch.results_url is not None
    with pytest.raises(anthropic.NotFoundError):
        results(claude, batch)


def test_results_that_arrive_spoiled(claude: Anthropic, emulator: Emulator) -> None:
    batch = ended(claude, create(claude, 100))

    def download() -> list[bytes]:
        with claude.messages.batches.with_streaming_response.results(batch.id) as response:
            return b"".join(response.iter_bytes()).splitlines()

    whole = download()
    emulator.arm("duplicated_lines", count=3)
    assert len(download()) == 103
    emulator.arm("dropped_lines", count=3)
    assert len(download()) == 97
    emulator.arm("foreign_lines")
    (foreign,) = set(download()) - set(whole)
    assert json.loads(foreign)["custom_id"] == "foreign-0"
    emulator.arm("garbled_lines")
    garbled = set(download()) - set(whole)
    with pytest.raises(ValueError, match=r"."):
        json.loads(garbled.pop())
    emulator.arm("truncated")
    assert len(download()) < 60
    emulator.arm("empty")
    assert download() == []
    emulator.arm("cut", after_bytes=5000)
    with pytest.raises(httpx2.RemoteProtocolError):
        download()
    emulator.arm("drop", operation="files.content")
    with pytest.raises(anthropic.APIConnectionError):
        download()
    assert download() == whole


def test_requests_that_fail(claude: Anthropic, emulator: Emulator) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    names = ["request_error", "invalid_json", "schema_violation", "refusal", "content_filter", "length"]
    for name in names:
        emulator.arm(name, contains=f"<{name}>")
    lines = run(
        claude,
        *(
            request(name, f"<{name}> a long enough text of many words to be cut in two", output_config=config)
            for name in names
        ),
        request("fine", output_config=config),
    )
    failed = lines["request_error"].result
    assert failed.type == "errored"
    assert failed.error.error.type == "api_error"
    said = {name: line.result.message for name, line in lines.items() if line.result.type == "succeeded"}
    assert said.keys() == {*names, "fine"} - {"request_error"}
    assert json.loads(text_of(said["fine"])).keys() == {"a"}
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(said["invalid_json"]))
    assert not isinstance(json.loads(text_of(said["schema_violation"]))["a"], str)
    for name in ("refusal", "content_filter"):
        assert (said[name].stop_reason, said[name].content) == ("refusal", [])
        assert said[name].stop_details is not None
    assert said["length"].stop_reason == "max_tokens"
    bill = emulator.bill()["anthropic"]
    assert (bill["requests"], bill["errors"]) == (6, 1)


def test_a_fault_for_one_provider_leaves_the_other_alone(claude: Anthropic, emulator: Emulator, client: Any) -> None:
    emulator.arm("500", operation="batches.list", provider="anthropic")
    assert client.batches.list().data == []
    with pytest.raises(anthropic.InternalServerError):
        listed(claude)


def test_killed_and_started_again_it_goes_on(tmp_path: Any) -> None:
    emulator = SpawnedEmulator(tmp_path / "state", latency_seconds=0.8)
    with emulator, Anthropic(base_url=emulator.anthropic_base_url, api_key="k", max_retries=0) as claude:
        batch = create(claude, 3000)
        while not emulator.bill().get("anthropic"):
            time.sleep(0.01)
        emulator.kill()
        with pytest.raises(anthropic.APIConnectionError):
            claude.messages.batches.retrieve(batch.id)
        emulator.start()
        batch = ended(claude, batch)
        lines = results(claude, batch)
        assert sorted(line.custom_id for line in lines) == sorted(f"row-{i}" for i in range(3000))
        bill = emulator.bill()["anthropic"]
        assert (bill["requests"], bill["surplus"]) == (3000, 0)
        assert list((tmp_path / "state" / "inputs").iterdir()) == []
        assert list((tmp_path / "state" / "partial").iterdir()) == []


def test_the_fixture_points_the_sdk_at_the_emulator(batch_emulator: Emulator) -> None:
    with Anthropic() as claude:
        assert ended(claude, create(claude, 2)).request_counts.succeeded == 2
    assert batch_emulator.bill()["anthropic"]["requests"] == 2
