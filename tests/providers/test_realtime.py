"""Hosts without a batch API: requests one by one behind the same protocol."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import orjson
import pytest
from provider_world import Nights, messages, spec_of

from batch_assets.emulator import Emulator
from batch_assets.encoding import encode_key
from batch_assets.engine import advance_account, cancel_plan, plan_partition, plan_status, poll_account, submit_waiting
from batch_assets.engine.gc import Removed, remove_input_files
from batch_assets.errors import Blocked, ConfigError, NotFound, Refused, StoreError, Transient
from batch_assets.ledger import Ledger
from batch_assets.pricing import resolve_rates
from batch_assets.providers.protocol import ResultLine
from batch_assets.providers.realtime import RealtimeProvider
from batch_assets.records import BatchPhase, Outcome, Request
from batch_assets.storage.local import LocalStore

MODEL = "gpt-5-mini"
KEY = "sk-SECRET-0123456789"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "realtime")


@pytest.fixture
def provider(emulator: Emulator, store: LocalStore) -> RealtimeProvider:
    return made(emulator, store)


def made(emulator: Emulator, store: LocalStore, **settings: Any) -> RealtimeProvider:
    given = {"dialect": "openai", "api_key": KEY, "base_url": emulator.openai_base_url, "concurrency": 4, **settings}
    return RealtimeProvider(store=store, **given)


def sent(provider: RealtimeProvider, count: int) -> str:
    request = Request(model=MODEL)
    lines = list(
        provider.envelope(request).lines([f"{n:063}" for n in range(count)], [b'"t%d"' % n for n in range(count)])
    )
    input_file = provider.upload("abcdefghij.jsonl", iter(lines))
    return provider.create(stamp="s", request=request, input_file=input_file, lines=lambda: iter(()), timeout_seconds=5)


def drive(provider: RealtimeProvider, batch_id: str) -> list[ResultLine]:
    """Its results, all of which are to be had in one call."""
    provider.drive(batch_id, lambda: None)
    return [provider.parse(line) for line in provider.results(provider.batch(batch_id))]


def billed(emulator: Emulator) -> int:
    return int(emulator.bill().get("openai", {"requests": 0})["requests"])


# ---------------------------------------------------------------- batches


def test_the_newest_batch_is_listed_first_and_a_harvested_one_not_at_all(
    provider: RealtimeProvider, store: LocalStore
) -> None:
    batch_ids = [sent(provider, 1) for _ in range(3)]
    assert [batch.batch_id for batch in provider.batches()] == batch_ids[::-1]
    assert len(list(provider.input_files())) == 3
    for batch in list(provider.batches()):
        drive(provider, batch.batch_id)
        assert batch.input_file is not None
        provider.delete_input(batch.input_file)
    provider.delete_input("gone")
    assert list(provider.batches()) == []
    assert [found.path for found in store.list("realtime")] == ["realtime/id"]
    with pytest.raises(NotFound):
        provider.batch(batch_ids[0])


def test_a_file_without_a_batch_is_listed_and_a_deleted_one_makes_none(provider: RealtimeProvider) -> None:
    input_file = provider.upload("abcdefghij.jsonl", iter([b"{}\n"]))
    assert [(file.file_id, file.name) for file in provider.input_files()] == [(input_file, "abcdefghij.jsonl")]
    assert input_file is not None
    provider.delete_input(input_file)
    with pytest.raises(Refused, match="is not there"):
        provider.create(
            stamp="s", request=Request(model=MODEL), input_file=input_file, lines=lambda: iter(()), timeout_seconds=5
        )


# ---------------------------------------------------------------- crashes


class DyingStore(LocalStore):
    """Dies just before the second answers would be durable."""

    kept = 0

    def write_new(self, path: str, data: bytes) -> bool:
        self.kept += path.endswith(".jsonl")
        if self.kept == 2:
            raise StoreError("the process died here")
        return super().write_new(path, data)


def test_a_crash_costs_at_most_what_is_under_way_at_one_time(emulator: Emulator, tmp_path: Path) -> None:
    provider = made(emulator, DyingStore(tmp_path / "realtime"))
    batch_id = sent(provider, 20)
    with pytest.raises(StoreError):
        provider.drive(batch_id, lambda: None)
    assert len(drive(made(emulator, LocalStore(tmp_path / "realtime")), batch_id)) == 20
    bill = emulator.bill()["openai"]
    assert (bill["requests"], bill["surplus"]) == (24, 4)  # `concurrency` is 4


# ---------------------------------------------------------------- limits of the host


def test_the_time_of_one_call_is_bounded_and_the_next_goes_on(emulator: Emulator, store: LocalStore) -> None:
    provider = made(emulator, store, work_seconds=0.0)
    batch_id = sent(provider, 10)
    for done in (4, 8):
        provider.drive(batch_id, lambda: None)
        batch = provider.batch(batch_id)
        assert (batch.completed, batch.due, billed(emulator)) == (done, True, done)
        with pytest.raises(Transient, match=f"{done} of 10 requests are answered"):
            list(provider.results(batch))
    assert len(drive(provider, batch_id)) == 10


def test_a_lease_that_is_lost_ends_the_work(provider: RealtimeProvider, emulator: Emulator) -> None:
    def lost() -> None:
        if billed(emulator) >= 8:
            raise Transient("the lease has passed to another process")

    batch_id = sent(provider, 20)
    with pytest.raises(Transient, match="has passed"):
        provider.drive(batch_id, lost)
    assert len(drive(provider, batch_id)) == 20
    assert (billed(emulator), emulator.bill()["openai"]["surplus"]) == (20, 0)


def test_two_processes_that_work_on_one_batch_write_no_answer_twice(
    provider: RealtimeProvider, emulator: Emulator, store: LocalStore
) -> None:
    """Without the lease, which keeps them apart, what is under way at one time is executed twice at most."""
    batch_id = sent(provider, 20)
    other = made(emulator, store)
    hit = []

    def meanwhile() -> None:
        if not hit:
            hit.append(1)
            other.drive(batch_id, lambda: None)

    with pytest.raises(Transient, match="another process works on"):
        provider.drive(batch_id, meanwhile)
    assert sorted(result.custom_id for result in drive(provider, batch_id)) == [f"{n:063}" for n in range(20)]
    assert emulator.bill()["openai"]["surplus"] == 4


def test_one_slow_request_holds_up_no_other(provider: RealtimeProvider, emulator: Emulator) -> None:
    emulator.arm("slow", operation="realtime", seconds=1)
    last = drive(provider, sent(provider, 20))[-1]
    assert int(last.custom_id) < 4  # one of those that were asked first, with a concurrency of 4


def test_a_429_is_asked_again_after_the_pause(provider: RealtimeProvider, emulator: Emulator) -> None:
    emulator.arm("refused", operation="realtime", status=429, retry_after=0.2, after=2)
    batch_id = sent(provider, 6)
    started = time.monotonic()
    assert len(drive(provider, batch_id)) == 6
    assert time.monotonic() - started >= 0.2
    assert emulator.bill()["openai"]["surplus"] == 0


def test_requests_go_at_an_even_rate(emulator: Emulator, store: LocalStore) -> None:
    provider = made(emulator, store, requests_per_minute=1200)
    batch_id = sent(provider, 7)
    started = time.monotonic()
    drive(provider, batch_id)
    assert time.monotonic() - started >= 6 * 0.05


@pytest.mark.parametrize(
    "fault", [{"status": 401}, {"status": 402}, {"status": 429, "code": "insufficient_quota"}], ids=str
)
def test_what_a_person_has_to_mend_blocks_and_keeps_the_answers(
    emulator: Emulator, store: LocalStore, fault: dict[str, Any]
) -> None:
    provider = made(emulator, store, blocked_seconds=0.1)
    emulator.arm("refused", operation="realtime", after=5, **fault)
    batch_id = sent(provider, 8)
    with pytest.raises(Blocked) as caught:
        provider.drive(batch_id, lambda: None)
    assert KEY not in str(caught.value)
    assert 5 <= billed(emulator) == provider.batch(batch_id).completed < 8
    while not provider.batch(batch_id).due:
        time.sleep(0.01)
    assert len(drive(provider, batch_id)) == 8
    assert emulator.bill()["openai"]["surplus"] == 0


def test_a_model_that_does_not_exist_blocks(provider: RealtimeProvider) -> None:
    request = Request(model="nonexistent-1")
    lines = provider.envelope(request).lines(["a"], [b'"x"'])
    input_file = provider.upload("in.jsonl", lines)
    batch_id = provider.create(
        stamp="s", request=request, input_file=input_file, lines=lambda: iter(()), timeout_seconds=5
    )
    with pytest.raises(Blocked, match="does not exist"):
        provider.drive(batch_id, lambda: None)


def test_failures_of_single_requests_are_results(emulator: Emulator, store: LocalStore) -> None:
    provider = made(emulator, store, concurrency=1)  # the faults count calls: these must come in order
    emulator.arm("request_error", contains='"t1"', status=400, code="invalid_value", message="no")
    emulator.arm("refused", operation="realtime", status=500, after=2)
    emulator.arm("drop", operation="realtime", after=2)
    results = drive(provider, sent(provider, 6))
    failed = {result.error_kind: result.curable for result in results if result.outcome is Outcome.ERRORED}
    assert failed == {"invalid_value": False, "server_error": True, "no_answer": True}


def test_a_host_that_is_busy_or_down_for_a_while_fails_no_row(
    emulator: Emulator, store: LocalStore, tmp_path: Path
) -> None:
    for status in (503, 529):
        emulator.arm("refused", operation="realtime", status=status, retry_after=1, times=5)
    landing, table = Nights(tmp_path / "night", made(emulator, store)).night(spec_of(MODEL, str), messages(10))
    assert landing.outcomes == {"succeeded": 10}
    assert set(table["batch_attempts"].to_pylist()) == {1}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    down = made(emulator, store, base_url=f"http://127.0.0.1:{port}/v1", work_seconds=0.1)
    batch_id = sent(down, 3)
    down.drive(batch_id, lambda: None)
    batch = down.batch(batch_id)
    assert (batch.completed, batch.due) == (0, False)
    assert "the host cannot be reached" in (batch.note or "")


class Canned(BaseHTTPRequestHandler):
    """A host that answers each request with the status, the type and the body that its text names."""

    canned: ClassVar[dict[str, tuple[int, str, bytes]]]

    def do_POST(self) -> None:
        text = orjson.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        status, kind, body = self.canned.get(text, (200, "application/json", completion("fine")))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after", "0.02")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def completion(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps({"model": MODEL, "choices": [choice], "usage": {"prompt_tokens": 1}, **more}, indent=1).encode()


@contextmanager
def host(**canned: tuple[int, str, bytes]) -> Iterator[str]:
    handler = type("Handler", (Canned,), {"canned": canned})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def test_whatever_comes_back_is_the_result_of_its_request_alone(emulator: Emulator, store: LocalStore) -> None:
    as_json = "application/json"
    with host(
        t0=(200, as_json, completion("half a pair: \ud83d")),
        t1=(200, as_json, completion("large", created=2**70)),
        t2=(200, as_json, b""),
        t3=(200, as_json, completion("cut")[:40]),
        t4=(204, as_json, b""),
        t5=(400, as_json, b'{"detail":"no such option"}'),
        t6=(400, as_json, b'{"error":"in words"}'),
        t7=(502, "text/html", b"<html>Bad gateway</html>"),
    ) as url:
        provider = made(emulator, store, base_url=url)
        batch_id = sent(provider, 10)
        provider.drive(batch_id, lambda: None)
        batch = provider.batch(batch_id)
        assert batch.phase is BatchPhase.ENDED
        results = [provider.parse(line) for line in provider.results(batch)]
    found = {int(result.custom_id): result for result in results}
    kinds = {place: result.error_kind or result.text for place, result in found.items()}
    assert kinds == {
        0: "half a pair: ?",
        1: "large",
        **dict.fromkeys((2, 3, 4), "no_answer"),
        **dict.fromkeys((5, 6), "400"),
        7: "502",
        **dict.fromkeys((8, 9), "fine"),
    }
    assert [found[place].curable for place in (2, 5, 6, 7)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>Log in</html>", "a page that is not the API's; check `base_url`"),
        (400, b"<html>Bad request</html>", "answered 400: .*check `base_url`"),
        (404, b"<html>Not found</html>", "answered 404: .*check `base_url`"),
        (404, b'{"detail":"Not Found"}', "answered 404: .*check `model` and `base_url`"),
    ],
)
def test_an_address_that_is_not_the_apis_fails_no_row(
    emulator: Emulator, store: LocalStore, status: int, body: bytes, said: str
) -> None:
    with host(t0=(status, "text/html" if body.startswith(b"<") else "application/json", body)) as url:
        provider = made(emulator, store, base_url=url, blocked_seconds=0.1)
        batch_id = sent(provider, 1)
        with pytest.raises(Blocked, match=said):
            provider.drive(batch_id, lambda: None)
        assert provider.batch(batch_id).completed == 0


def test_a_model_that_is_blocked_stops_no_other(emulator: Emulator, store: LocalStore, tmp_path: Path) -> None:
    provider = made(emulator, store)
    ledger = Ledger.open(LocalStore(tmp_path / "night"))
    bad, good = (
        plan_partition(ledger, provider, spec_of(model, str, asset=model), "one", messages(5).to_batches())
        for model in ("nonexistent-1", MODEL)
    )
    submit_waiting(ledger, provider)
    with pytest.raises(Blocked, match="does not exist"):
        advance_account(ledger, provider)
    assert plan_status(ledger, good.ref).settled
    poll = poll_account(ledger, provider)
    assert not poll.needs_advance
    assert "nonexistent-1 is not asked until" in (poll.progress[0].reason or "")
    assert plan_status(ledger, bad.ref).results == 0


def test_a_block_that_goes_on_is_looked_at_ever_more_rarely(emulator: Emulator, tmp_path: Path) -> None:
    store = LaterStore(tmp_path / "realtime")
    provider = made(emulator, store, api_key="sk-invalid", blocked_seconds=600)
    batch_id = sent(provider, 1)
    for minutes in (10, 20, 40, 60, 60):
        with pytest.raises(Blocked, match="401"):
            provider.drive(batch_id, lambda: None)
        store.later += timedelta(minutes=minutes, seconds=-5)
        assert not provider.batch(batch_id).due
        store.later += timedelta(seconds=10)
        assert provider.batch(batch_id).due
    made(emulator, store).drive(batch_id, lambda: None)
    assert provider.batch(batch_id).completed == 1
    assert not list(store.list("realtime/" + encode_key(provider.account) + "/holds"))


def test_a_request_that_is_always_refused_is_no_end_of_the_others(emulator: Emulator, store: LocalStore) -> None:
    with host(t3=(429, "application/json", b'{"error":{"message":"Request too large."}}')) as url:
        provider = made(emulator, store, base_url=url)
        results = {int(result.custom_id): result for result in drive(provider, sent(provider, 12))}
    assert {place for place, result in results.items() if result.outcome is Outcome.ERRORED} == {3}
    assert (results[3].error, results[3].curable) == ("Request too large.", True)


def test_what_blocks_one_request_and_no_other_is_its_result(emulator: Emulator, store: LocalStore) -> None:
    flagged = (403, "application/json", b'{"error":{"code":"flagged","message":"The input was flagged."}}')
    with host(t0=flagged, t7=flagged) as url:
        provider = made(emulator, store, base_url=url)
        results = {int(result.custom_id): result for result in drive(provider, sent(provider, 12))}
    failed = {place: result for place, result in results.items() if result.outcome is Outcome.ERRORED}
    assert failed.keys() == {0, 7}
    assert {(result.error_kind, result.curable) for result in failed.values()} == {("flagged", True)}
    with host(t0=flagged, t1=flagged) as url:  # what is left when the others have been answered by an earlier call
        provider = made(emulator, store, base_url=url, work_seconds=0.0)
        batch_id = sent(provider, 6)
        while (provider.batch(batch_id).completed or 0) < 4:
            provider.drive(batch_id, lambda: None)
        assert len(drive(made(emulator, store, base_url=url), batch_id)) == 6
    with host(**{f"t{place}": flagged for place in range(2, 60)}) as url:
        provider = made(emulator, store, base_url=url)
        batch_id = sent(provider, 60)
        with pytest.raises(Blocked, match="The input was flagged"):
            provider.drive(batch_id, lambda: None)
        batch = provider.batch(batch_id)
        assert (batch.due, "is not asked until" in (batch.note or "")) == (False, True)
        assert (batch.completed or 0) == 2


def test_a_batch_of_which_nothing_is_answered_for_a_day_expires(emulator: Emulator, tmp_path: Path) -> None:
    store = LaterStore(tmp_path / "realtime")
    provider = made(emulator, store, work_seconds=0.0)
    batch_id = sent(provider, 6)
    store.later += timedelta(hours=25)
    assert provider.batch(batch_id).due  # it was not begun before
    provider.drive(batch_id, lambda: None)
    store.later += timedelta(hours=25)
    batch = provider.batch(batch_id)
    assert (batch.phase, batch.raw_status, batch.completed) == (BatchPhase.ENDED, "expired", 4)
    results = [provider.parse(line) for line in provider.results(batch)]
    assert [result.outcome for result in results[4:]] == [Outcome.EXPIRED] * 2
    assert all(result.curable for result in results[4:])


class LaterStore(LocalStore):
    """One whose clock can be put forward."""

    later = timedelta()

    def now(self) -> datetime:
        return super().now() + self.later


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "`concurrency` is 0"),
        ({"requests_per_batch": 0}, "`requests_per_batch` is 0"),
        ({"requests_per_minute": 0}, "`requests_per_minute` is 0"),
        ({"dialect": "acme"}, "deepseek"),
    ],
)
def test_wrong_settings_are_named(store: LocalStore, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RealtimeProvider(store=store, **{"dialect": "deepseek", **settings})


# ---------------------------------------------------------------- nights


def test_rates_of_requests_that_are_not_batched() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    rates = resolve_rates("openai", MODEL, at, realtime=True, assumed_batch_discount=Decimal("0.5"))
    assert (rates.batch, rates.rate_source) == (rates.standard, "standard")
    assert rates.batch != resolve_rates("openai", MODEL, at).batch
    assert resolve_rates("nobody", "m", at, realtime=True).rate_source == "unknown"
    own = resolve_rates("openai", MODEL, at, realtime=True, pricing={MODEL: {"input": 1, "output": 2}})
    assert own.rate_source == "override"
    assert own.batch is not None
    assert own.batch.input.base == 1_000_000


def test_a_night_at_standard_price(provider: RealtimeProvider, emulator: Emulator, tmp_path: Path) -> None:
    nights = Nights(tmp_path / "night", provider)
    emulator.arm("request_error", contains="Message 2:", status=500)
    landing, table = nights.night(spec_of(MODEL, max_output_tokens=100), messages(25))
    assert landing.outcomes == {"succeeded": 25}
    assert table["id"].to_pylist() == messages(25)["id"].to_pylist()
    assert table["batch_attempts"].to_pylist()[2] == 2
    assert emulator.bill()["openai"]["surplus"] == 0
    assert (landing.rate_source, landing.estimate.rate_source) == ("standard", "standard")
    assert landing.cost_usd is not None
    assert landing.cost_usd == landing.standard_usd > 0
    assert landing.saved_usd == 0
    assert list(provider.batches()) == []


def test_a_long_night_goes_on_from_tick_to_tick(emulator: Emulator, store: LocalStore, tmp_path: Path) -> None:
    provider = made(emulator, store, work_seconds=0.0, requests_per_batch=30)
    landing, _ = Nights(tmp_path / "night", provider).night(spec_of(MODEL, str), messages(70))
    assert landing.outcomes == {"succeeded": 70}
    assert len(landing.batch_ids) == 3
    assert emulator.bill()["openai"]["surplus"] == 0


def test_a_pause_longer_than_a_run_is_kept_from_run_to_run(
    emulator: Emulator, store: LocalStore, tmp_path: Path
) -> None:
    ledger = Ledger.open(LocalStore(tmp_path / "night"))
    plan = plan_partition(ledger, made(emulator, store), spec_of(MODEL, str), "one", messages(12).to_batches())
    submit_waiting(ledger, made(emulator, store))
    emulator.arm("refused", operation="realtime", status=429, retry_after=3600, after=5)
    advance_account(ledger, made(emulator, store))
    executed = billed(emulator)
    for _ in range(3):  # each a process of its own
        poll = poll_account(ledger, made(emulator, store))
        assert not poll.needs_advance
        assert "gpt-5-mini is not asked until" in poll.summary
        assert "429" in poll.summary
        (progress,) = poll.progress
        assert (progress.finished_requests, progress.open_requests, progress.expected_by) == (executed, 12, None)
        advance_account(ledger, made(emulator, store))
    assert billed(emulator) == executed < 12
    (reason,) = plan_status(ledger, plan.ref).reasons
    assert "gpt-5-mini is not asked until" in reason


def test_a_canceled_plan_is_not_executed_any_further(emulator: Emulator, store: LocalStore, tmp_path: Path) -> None:
    provider = made(emulator, store, work_seconds=0.0)
    ledger = Ledger.open(LocalStore(tmp_path / "night"))
    plan = plan_partition(ledger, provider, spec_of(MODEL, str), "one", messages(12).to_batches())
    submit_waiting(ledger, provider)
    advance_account(ledger, provider)
    cancel_plan(ledger, provider, plan.ref)
    advance_account(ledger, provider)
    status = plan_status(ledger, plan.ref)
    assert (status.settled, status.failed_rows, billed(emulator)) == (True, 8, 4)
    assert [found.path for found in store.list("realtime")] == ["realtime/id"]


def test_another_store_is_another_account(emulator: Emulator, store: LocalStore, tmp_path: Path) -> None:
    ledger = Ledger.open(LocalStore(tmp_path / "night"))
    ours, other = made(emulator, store), made(emulator, LocalStore(tmp_path / "other"))
    plan = plan_partition(ledger, ours, spec_of(MODEL, str), "one", messages(3).to_batches())
    submit_waiting(ledger, ours)
    advance_account(ledger, other)
    advance_account(ledger, ours)
    status = plan_status(ledger, plan.ref)
    assert (status.settled, status.failed_rows, ours.account == other.account) == (True, 0, False)


def test_what_a_process_left_that_died_is_removed_by_gc(emulator: Emulator, store: LocalStore, tmp_path: Path) -> None:
    provider = made(emulator, store)
    ledger = Ledger.open(LocalStore(tmp_path / "night"))
    plan = plan_partition(ledger, provider, spec_of(MODEL, str), "one", messages(3).to_batches())
    (spec,) = plan.shards
    submit_waiting(ledger, provider)
    remove_input_files(ledger, provider, Removed())
    advance_account(ledger, provider)
    assert plan_status(ledger, plan.ref).failed_rows == 0
    left = provider.upload(f"{spec.shard_id}.jsonl", iter([b"{}\n"]))
    provider.create(stamp="s", request=Request(model=MODEL), input_file=left, lines=lambda: iter(()), timeout_seconds=5)
    remove_input_files(ledger, provider, removed := Removed())
    assert removed.input_files == [left]
    assert [found.path for found in store.list("realtime")] == ["realtime/id"]


def test_deepseek_is_told_the_schema_and_priced_by_its_own_list(
    emulator: Emulator, store: LocalStore, tmp_path: Path
) -> None:
    provider = made(emulator, store, dialect="deepseek")
    assert provider.account.startswith("realtime+deepseek+127.0.0.1:")
    assert re.fullmatch(r"realtime\+deepseek\+\w{8}", RealtimeProvider(store=store, dialect="deepseek").account)
    landing, _ = Nights(tmp_path / "night", provider).night(spec_of("deepseek-v4-flash", str), messages(3))
    assert landing.outcomes == {"succeeded": 3}
    assert landing.rate_source == "standard"
    assert landing.cost_usd is not None
    assert landing.cost_usd > 0
