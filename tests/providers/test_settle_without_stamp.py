"""A lost reply where batches bear nothing of ours: settled by looking, late at worst, and never paid for twice."""

from __future__ import annotations

import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from batch_assets.emulator import Emulator
from batch_assets.engine import advance_account, collect, plan_status, poll_account, submit_waiting, wait_for
from batch_assets.ledger import Ledger
from batch_assets.provider_contract.contract import Bench
from batch_assets.provider_contract.nights import Nights
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.records import PlanRecord
from batch_assets.storage.local import LocalStore
from batch_assets.tables import TableStore
from batch_assets.timing import Timing

PATIENT = Timing(blocked_seconds=0.1, longest_wait_seconds=0.2)


def deployment(emulator: Emulator, folder: Path, timing: Timing = PATIENT) -> Nights:
    provider = AnthropicProvider(api_key="sk-test", base_url=emulator.anthropic_base_url, max_retries=0)
    bench = Bench(provider=provider, emulator=emulator, model="claude-haiku-4-5", emulated="anthropic")
    return Nights(bench, folder, timing)


@pytest.fixture
def nights(emulator: Emulator, tmp_path: Path) -> Nights:
    return deployment(emulator, tmp_path)


def texts(count: int, salt: str = "") -> list[str]:
    return [f"{salt} message number {i}: where is my card?" for i in range(count)]


def submit(nights: Nights) -> int:
    return submit_waiting(nights.ledger, nights.bench.provider, log=nights.log.append)


def advance(nights: Nights) -> str:
    return advance_account(nights.ledger, nights.bench.provider, log=nights.log.append)


def reasons(nights: Nights, plan: PlanRecord) -> str:
    return " ".join(plan_status(nights.ledger, plan.ref).reasons)


def landed(nights: Nights, *plans: PlanRecord) -> list[dict[str, int]]:
    """The outcomes of plans once they are settled."""
    provider = nights.bench.provider
    refs = [plan.ref for plan in plans]
    for status in wait_for(
        nights.ledger, provider, refs, interval_seconds=0.05, timeout_seconds=20, log=nights.log.append
    ):
        assert status.settled, (status, nights.log)
    return [collect(nights.ledger, TableStore(nights.folder / "tables"), ref).outcomes for ref in refs]


def lost(nights: Nights, emulator: Emulator, count: int, fault: str = "accept_then_drop", **more: Any) -> PlanRecord:
    """A plan whose create call had no answer."""
    plan = nights.plan(texts(count), **more)
    emulator.arm(fault, operation="batches.create")
    assert submit(nights) == 0
    assert plan_status(nights.ledger, plan.ref).states == {"ambiguous": 1}
    return plan


def test_a_batch_that_runs_is_waited_for_while_others_are_sent(nights: Nights, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    first = lost(nights, emulator, 40)
    (batch,) = nights.bench.listed()
    advance(nights)
    assert f"on hold, since it may have been sent: {batch.batch_id} (in_progress)" in reasons(nights, first)
    same = nights.plan(texts(40, "same"), "same")
    other = nights.plan(texts(30, "other"), "other")
    assert submit(nights) == 1  # one that could be told from the first
    assert plan_status(nights.ledger, same.ref).states == {"waiting": 1}
    assert plan_status(nights.ledger, other.ref).states == {"submitted": 1}
    emulator.advance(1001)
    emulator.set_latency(0)
    assert landed(nights, first, same, other) == [{"succeeded": 40}, {"succeeded": 40}, {"succeeded": 30}]
    assert plan_status(nights.ledger, first.ref).batch_ids == (batch.batch_id,)
    assert len(nights.bench.listed()) == 3
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (110, 0)


def test_nothing_else_is_sent_before_the_list_was_read(nights: Nights, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    provider = nights.bench.provider
    provider.limits = replace(provider.limits, max_requests=10)
    plan = nights.plan(texts(25))
    emulator.arm("accept_then_drop", operation="batches.create")
    assert submit(nights) == submit(nights) == 0
    assert plan_status(nights.ledger, plan.ref).states == {"ambiguous": 1, "waiting": 2}
    advance(nights)  # settles as far as it can, and sends the shard of another size
    assert plan_status(nights.ledger, plan.ref).states == {"ambiguous": 1, "waiting": 1, "submitted": 1}
    emulator.advance(1001)
    emulator.set_latency(0)
    assert landed(nights, plan) == [{"succeeded": 25}]
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (25, 0)


def test_a_tick_leaves_a_shard_on_hold_alone_and_tells_why(emulator: Emulator, tmp_path: Path) -> None:
    nights = deployment(emulator, tmp_path, Timing())
    emulator.set_latency(1000)
    lost(nights, emulator, 5)
    assert poll_account(nights.ledger, nights.bench.provider).needs_advance
    advance(nights)
    poll = poll_account(nights.ledger, nights.bench.provider)
    assert not poll.needs_advance
    assert "may be its batch" in poll.summary
    waiting = nights.plan(texts(5, "more"), "two")
    assert not poll_account(nights.ledger, nights.bench.provider).needs_advance
    assert plan_status(nights.ledger, waiting.ref).states == {"waiting": 1}


def test_a_batch_of_somebody_else_with_as_many_requests_is_dropped(nights: Nights, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    plan = lost(nights, emulator, 20, "drop")
    stranger = nights.bench.send(texts(20, "stranger"))
    advance(nights)
    assert stranger in reasons(nights, plan)
    emulator.advance(1001)
    emulator.set_latency(0)
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert any(f"{stranger} has as many requests, and is not its batch" in line for line in nights.log)
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (40, 0)


def test_of_two_candidates_its_own_is_taken(nights: Nights, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    plan = lost(nights, emulator, 20)
    (own,) = nights.bench.listed()
    stranger = nights.bench.send(texts(20, "stranger"))
    advance(nights)
    assert stranger in reasons(nights, plan)
    emulator.advance(1001)
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert plan_status(nights.ledger, plan.ref).batch_ids == (own.batch_id,)
    assert nights.bench.bill["requests"] == 40


def test_batches_that_have_an_owner_or_another_size_are_no_candidates(nights: Nights, emulator: Emulator) -> None:
    emulator.set_latency(1000)
    plan = lost(nights, emulator, 20, "drop")
    owned = nights.bench.send(texts(20, "owned"))
    assert nights.ledger.claim_batch(replace(plan.shards[0], shard_id="zzzzzzzzzz"), owned)
    nights.bench.send(texts(21, "larger"))
    emulator.set_latency(0)
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert not any("not its batch" in line for line in nights.log)
    assert nights.bench.bill["requests"] == 20


def test_a_batch_that_is_listed_late_is_found(nights: Nights, emulator: Emulator) -> None:
    emulator.arm("list_lag", lists=2)  # the first to find the batch, and the first of `landed`
    plan = lost(nights, emulator, 20)
    advance(nights)
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (20, 0)
    assert len(nights.bench.listed()) == 1


@pytest.mark.parametrize("fault", ["garbled_lines", "dropped_lines", "foreign_lines", "empty", "truncated", "cut"])
def test_results_that_arrive_spoiled_do_not_mislead(nights: Nights, emulator: Emulator, fault: str) -> None:
    plan = lost(nights, emulator, 20)
    emulator.arm(fault, **({"count": 15} if fault.endswith("lines") else {}))
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (20, 0)


def test_listings_that_fail_say_nothing(nights: Nights, emulator: Emulator) -> None:
    plan = lost(nights, emulator, 20)
    emulator.arm("500", operation="batches.list", times=4)
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (20, 0)


SHORT = Timing(lease_seconds=1.0, create_seconds=0.4, intent_seconds=0.5, blocked_seconds=0.1)


def submit_elsewhere(url: str, folder: Path) -> None:
    provider = AnthropicProvider(api_key="sk-test", base_url=url, max_retries=0)
    submit_waiting(Ledger.open(LocalStore(folder / "store"), timing=SHORT), provider)


def test_a_process_that_is_killed_before_it_has_the_answer(emulator: Emulator, tmp_path: Path) -> None:
    nights = deployment(emulator, tmp_path, SHORT)
    plan = nights.plan(texts(20))
    emulator.arm("accept_then_hang", operation="batches.create")
    process = get_context("spawn").Process(target=submit_elsewhere, args=(emulator.anthropic_base_url, tmp_path))
    process.start()
    while not nights.bench.listed():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert plan_status(nights.ledger, plan.ref).states == {"submitting": 1}
    assert landed(nights, plan) == [{"succeeded": 20}]
    assert (nights.bench.bill["requests"], nights.bench.bill["surplus"]) == (20, 0)


@pytest.mark.parametrize(
    ("policy", "outcomes", "bought"),
    [("resubmit", {"succeeded": 20}, 40), ("fail", {"errored": 20}, 20)],
)
def test_where_nothing_can_be_seen_the_policy_decides(
    emulator: Emulator, tmp_path: Path, policy: str, outcomes: dict[str, int], bought: int
) -> None:
    nights = deployment(emulator, tmp_path, Timing(hold_seconds=0.5, blocked_seconds=0.1))
    emulator.arm("result_files_gone")
    plan = lost(nights, emulator, 20, on_ambiguous=policy)
    assert landed(nights, plan) == [outcomes]
    assert nights.bench.bill["requests"] == bought


def test_by_default_it_is_held_for_a_person(nights: Nights, emulator: Emulator) -> None:
    nights = replace(nights, timing=Timing(hold_seconds=0.1, blocked_seconds=0.1), log=[])
    emulator.arm("result_files_gone")
    plan = lost(nights, emulator, 20)
    for _ in range(3):
        advance(nights)
    assert plan_status(nights.ledger, plan.ref).states == {"ambiguous": 1}
    assert "when it ends and its results can be read" in reasons(nights, plan)
    assert nights.bench.bill["requests"] == 20
