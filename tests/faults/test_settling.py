"""Submissions in doubt that looking cannot settle, and batches that no shard has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nights_with_faults import PARTITION, QUICK, REQUESTS, ROWS, Night, rows
from subjects import SUBJECTS

from batch_assets.admission import QueueLimits
from batch_assets.cli import main
from batch_assets.emulator import Emulator
from batch_assets.engine import advance_account, plan_partition, plan_status, poll_account, submit_waiting
from batch_assets.engine.reconcile import is_held
from batch_assets.lifecycle import State
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import PlanRecord


class GoneAnchor(OpenAIProvider):
    """The newest batch before each intent is one that the list does not show afterwards."""

    def newest(self) -> str | None:
        return "batch_that_is_gone"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(latency_seconds=0) as emulator:
        yield emulator


def night_of(emulator: Emulator, folder: Path, policy: str, hold_seconds: float) -> Night:
    night = Night(SUBJECTS[0], emulator, folder, policy, timing=replace(QUICK, hold_seconds=hold_seconds))  # type: ignore[arg-type]
    gone = GoneAnchor(api_key="sk-faults", base_url=f"{emulator.url}/v1", listing_grace_seconds=0.1)
    gone.limits = night.provider.limits
    night.provider = gone
    return night


def begin(night: Night) -> PlanRecord:
    plan = plan_partition(night.ledger, night.provider, night.spec(), PARTITION, rows().to_batches())
    submit_waiting(night.ledger, night.provider, log=night.said.append)
    return plan


def test_hold_waits_and_says_why(emulator: Emulator, tmp_path: Path) -> None:
    emulator.arm("drop", operation="batches.create")
    night = night_of(emulator, tmp_path, "hold", 0.1)
    plan = begin(night)
    for _ in range(20):
        night.tick(plan.ref)
    status = plan_status(night.ledger, plan.ref)
    assert status.states == {"ambiguous": 1, "harvested": 2}
    assert any("on hold, since it may have been sent" in reason for reason in status.reasons)
    assert "on hold" in poll_account(night.ledger, night.provider).summary


@pytest.mark.parametrize(("policy", "right"), [("resubmit", ROWS), ("fail", ROWS * 2 // 3)])
def test_what_on_ambiguous_decides_after_the_hold(emulator: Emulator, tmp_path: Path, policy: str, right: int) -> None:
    emulator.arm("drop", operation="batches.create")
    night = night_of(emulator, tmp_path, policy, 0.3)
    table = night.run()
    outcomes = table["batch_outcome"].to_pylist()
    assert outcomes.count("succeeded") == right
    assert emulator.bill()["openai"]["requests"] == right * REQUESTS // ROWS
    if policy == "fail":
        assert any("as `on_ambiguous` says" in error for error in table["batch_error"].to_pylist() if error)


@pytest.mark.parametrize(("decision", "right"), [("--resubmit", ROWS), ("--fail", ROWS * 2 // 3)])
def test_a_person_ends_the_hold_of_a_shard(
    emulator: Emulator, tmp_path: Path, capfd: pytest.CaptureFixture[str], decision: str, right: int
) -> None:
    emulator.arm("drop", operation="batches.create")
    night = night_of(emulator, tmp_path, "hold", 0.1)
    plan = begin(night)
    ambiguous = next(
        shard for shard in night.ledger.open_shards(night.provider.account) if shard.state is State.AMBIGUOUS
    )
    arguments = ["release", "--store", str(tmp_path / "store"), "--shard", ambiguous.spec.shard_id, decision]
    assert main(arguments) == 1
    assert "not on hold" in capfd.readouterr().err
    while not is_held(night.ledger.shard(night.provider.account, ambiguous.spec.shard_id)):
        night.tick(plan.ref)
    assert main(arguments) == 0
    assert "as a person decided" in capfd.readouterr().err
    outcomes = night.run()["batch_outcome"].to_pylist()
    assert outcomes.count("succeeded") == right
    bill = emulator.bill()["openai"]
    assert (bill["requests"], bill["surplus"]) == (right * REQUESTS // ROWS, 0)
    assert main(arguments) == 1
    assert "no open plan has a shard" in capfd.readouterr().err


@pytest.mark.parametrize("policy", ["resubmit", "fail"])
def test_what_looking_settles_is_not_left_to_on_ambiguous(emulator: Emulator, tmp_path: Path, policy: str) -> None:
    emulator.arm("accept_then_drop", operation="batches.create", times=3)
    night = night_of(emulator, tmp_path, policy, 0.0)
    assert set(night.run()["batch_outcome"].to_pylist()) == {"succeeded"}
    assert (emulator.bill()["openai"]["requests"], emulator.bill()["openai"]["surplus"]) == (REQUESTS, 0)


def create_behind_its_back(night: Night, shard_id: str) -> str:
    """A batch that bears a shard's stamp, and of which its journal knows nothing."""
    ledger, provider = night.ledger, night.provider
    spec = ledger.shard(provider.account, shard_id).spec
    plan = ledger.plan(spec.plan)
    from batch_assets.engine.submit import wire_lines

    envelope = provider.envelope(plan.request)
    shard = ledger.shard(provider.account, shard_id)
    input_file = provider.upload(f"{shard_id}.jsonl", wire_lines(ledger, shard, envelope))
    return provider.create(
        stamp=ledger.stamp(spec),
        request=plan.request,
        input_file=input_file,
        lines=lambda: iter(()),
        timeout_seconds=5,
    )


def test_a_batch_too_many_is_canceled(emulator: Emulator, tmp_path: Path) -> None:
    emulator.set_latency(2)
    night = Night(SUBJECTS[0], emulator, tmp_path)
    plan = begin(night)
    extra = create_behind_its_back(night, plan.shards[1].shard_id)
    assert poll_account(night.ledger, night.provider).needs_advance
    assert "1 canceled as one too many" in advance_account(night.ledger, night.provider, log=night.said.append)
    assert any(extra in said and "one too many" in said for said in night.said)
    night.settle(plan.ref)
    assert emulator.bill()["openai"]["requests"] == REQUESTS
    assert not poll_account(night.ledger, night.provider).needs_advance


def test_a_batch_that_was_thought_not_to_exist_is_taken(emulator: Emulator, tmp_path: Path) -> None:
    night = Night(SUBJECTS[0], emulator, tmp_path)
    night.provider.queue = QueueLimits(max_open_batches=1)
    emulator.set_latency(0.4)
    plan = begin(night)
    found = create_behind_its_back(night, plan.shards[2].shard_id)
    advance_account(night.ledger, night.provider, log=night.said.append)
    assert night.ledger.shard(night.provider.account, plan.shards[2].shard_id).last.batch_id == found
    night.settle(plan.ref)
    assert (emulator.bill()["openai"]["requests"], emulator.bill()["openai"]["surplus"]) == (REQUESTS, 0)


def test_batches_of_another_deployment_are_left_alone(emulator: Emulator, tmp_path: Path) -> None:
    emulator.set_latency(0.5)
    production = Night(SUBJECTS[0], emulator, tmp_path / "production")
    staging = Night(SUBJECTS[0], emulator, tmp_path / "staging")
    plans = [begin(production), begin(staging)]
    for night in (production, staging):
        advance_account(night.ledger, night.provider, whole_list=True, log=night.said.append)
        assert not any("too many" in said for said in night.said)
    production.settle(plans[0].ref)
    staging.settle(plans[1].ref)
    assert emulator.bill()["openai"]["requests"] == 2 * REQUESTS
