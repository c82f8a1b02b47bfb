"""Cancel, change, wait, clean up: what is given up, what is kept, and who decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from nights_with_faults import PARTITION, REQUESTS, Night, rows
from subjects import SUBJECTS

from batch_assets.cli import main
from batch_assets.emulator import Emulator
from batch_assets.engine import advance_account, cancel_plan, plan_partition, submit_waiting
from batch_assets.engine.cancel import give_up
from batch_assets.engine.gc import DAY_SECONDS, Removed, remove_input_files, remove_old_plans
from batch_assets.engine.status import generation_status, plan_status
from batch_assets.ledger import Ledger
from batch_assets.records import PlanRecord, Wait
from batch_assets.storage.local import LocalStore


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(latency_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def night(emulator: Emulator, tmp_path: Path) -> Night:
    return Night(SUBJECTS[0], emulator, tmp_path)


def begin(night: Night, table: pa.Table | None = None, **settings: object) -> PlanRecord:
    spec = replace(night.spec(), **settings)  # type: ignore[arg-type]
    plan = plan_partition(night.ledger, night.provider, spec, PARTITION, (table or rows()).to_batches())
    submit_waiting(night.ledger, night.provider, log=night.said.append)
    return plan


def billed(emulator: Emulator) -> tuple[int, int]:
    bill = emulator.bill().get("openai", {"requests": 0, "surplus": 0})
    return bill["requests"], bill["surplus"]


def changed(count: int) -> pa.Table:
    texts = rows()["text"].to_pylist()
    texts[:count] = [f"I lost card {number}." for number in range(count)]
    return rows().set_column(1, "text", pa.array(texts))


def test_what_had_finished_is_kept_and_not_bought_again(night: Night, emulator: Emulator) -> None:
    emulator.arm("stuck", fraction=0.5, times=3)
    plan = begin(night)
    night.tick()
    cancel_plan(night.ledger, night.provider, plan.ref)
    night.settle(plan.ref)
    finished = billed(emulator)[0]
    assert 0 < finished < REQUESTS
    table = night.run()
    assert set(table["batch_outcome"].to_pylist()) == {"succeeded"}
    assert billed(emulator) == (REQUESTS, 0)


def test_a_cancel_reaches_what_is_being_settled(night: Night, emulator: Emulator) -> None:
    """A shard whose create call was lost is canceled once it is found, and never sent if it is not."""
    emulator.arm("stuck", fraction=0)
    emulator.arm("accept_then_drop", operation="batches.create")
    emulator.arm("drop", operation="batches.create", after=1)
    plan = begin(night)
    cancel_plan(night.ledger, night.provider, plan.ref)
    night.settle(plan.ref)
    assert billed(emulator) == (0, 0)
    assert not night.ledger.open_plans()


def test_a_cancel_that_did_not_get_through_is_asked_for_again(night: Night, emulator: Emulator) -> None:
    emulator.arm("stuck", fraction=0.5, times=3)
    plan = begin(night)
    emulator.arm("drop", operation="batches.cancel", times=8)
    with pytest.raises(Exception, match="canceling batch"):
        cancel_plan(night.ledger, night.provider, plan.ref)
    night.settle(plan.ref)
    assert "canceling" not in generation_status(night.ledger, plan.ref).states


def test_a_plan_is_canceled_when_the_last_one_gives_up(night: Night, emulator: Emulator) -> None:
    emulator.arm("stuck", fraction=0.5, times=3)
    plan = begin(night)
    waits = [
        Wait(wait_id=name, run_id=name, backfill_id=None, asset="queries", plans=(plan.ref,)) for name in ("one", "two")
    ]
    for wait in waits:
        night.ledger.record_wait(wait)
    assert give_up(night.ledger, night.provider, waits[0]) == []
    assert not night.ledger.is_canceled(plan.ref)
    assert [wait.wait_id for wait in night.ledger.waits()] == ["two"]
    assert give_up(night.ledger, night.provider, waits[1]) == [plan.ref]
    night.settle(plan.ref)


@pytest.mark.parametrize("on_change", ["finish", "cancel"])
def test_rows_change_while_batches_run(night: Night, emulator: Emulator, on_change: str) -> None:
    """Finished or canceled, what the old batches have done is taken, and no request is in two open batches."""
    emulator.set_latency(0.6)
    if on_change == "cancel":
        emulator.arm("stuck", fraction=0.5, times=3)
    begin(night)
    plan = begin(night, changed(4), on_change=on_change)
    night.settle(plan.ref)
    bill = emulator.bill()["openai"]
    assert bill["surplus"] == 0
    if on_change == "finish":
        assert bill["requests"] == REQUESTS + 4
    else:
        assert bill["requests"] < REQUESTS + 4  # what the old plan alone wanted was stopped
    assert plan_status(night.ledger, plan.ref).states.keys() <= {"harvested", "split"}
    assert generation_status(night.ledger, replace(plan.ref, generation=1)).settled


def test_a_settled_plan_is_not_canceled(night: Night) -> None:
    plan = begin(night)
    night.settle(plan.ref)
    cancel_plan(night.ledger, night.provider, plan.ref)
    assert not night.ledger.is_canceled(plan.ref)


# -- clean up --------------------------------------------------------------------------------------------------------


def objects(night: Night) -> set[str]:
    return {entry.path for entry in night.store.list("")}


def test_gc_keeps_what_is_open_new_or_waited_for(night: Night, emulator: Emulator) -> None:
    night.run()
    emulator.arm("stuck", times=3)
    plan = begin(night, changed(5))
    night.store.pass_time(days=1000)
    before = objects(night)
    removed = Removed()
    remove_old_plans(night.ledger, removed, older_seconds=90 * DAY_SECONDS)
    assert (removed, objects(night)) == (Removed(), before)
    cancel_plan(night.ledger, night.provider, plan.ref)
    night.settle(plan.ref)
    wait = Wait(wait_id="w", run_id="w", backfill_id=None, asset="queries", plans=(replace(plan.ref, generation=1),))
    night.ledger.record_wait(wait)
    remove_old_plans(night.ledger, removed, older_seconds=2000 * DAY_SECONDS)
    remove_old_plans(night.ledger, removed, older_seconds=90 * DAY_SECONDS)
    assert removed == Removed()


def test_gc_removes_replaced_plans_and_lost_drafts(night: Night, emulator: Emulator) -> None:
    night.run()
    first = objects(night)
    night.store.pass_time(days=100)
    plan = begin(night, changed(5))
    night.settle(plan.ref)
    night.store.write_new("default/assets/queries/2026-11-01/drafts/lost/shard-00000.parquet", b"half a draft")
    night.store.pass_time(days=50)
    kept = objects(night) - {path for path in objects(night) if "/drafts/lost/" in path}
    dry = Removed()
    remove_old_plans(night.ledger, dry, older_seconds=90 * DAY_SECONDS, dry_run=True)
    remove_old_plans(night.ledger, dry, older_seconds=20 * DAY_SECONDS, dry_run=True)
    removed = Removed()
    remove_old_plans(night.ledger, removed, older_seconds=90 * DAY_SECONDS)
    assert [ref.generation for ref in removed.plans] == [1]
    assert len(removed.shards) == 3
    assert not removed.drafts or all("lost" not in one for one in removed.drafts)
    remove_old_plans(night.ledger, removed, older_seconds=20 * DAY_SECONDS)
    assert any("/drafts/lost" in one for one in removed.drafts)
    gone = first - objects(night)
    assert gone
    assert not (kept - first) - objects(night)
    assert dry.objects >= removed.objects - 1
    again = night.run()  # the old texts come back: what the newest plan does not have is bought again
    assert set(again["batch_outcome"].to_pylist()) == {"succeeded"}


def test_gc_removes_input_files_that_no_batch_needs(night: Night, emulator: Emulator) -> None:
    emulator.arm("stuck", times=3)
    plan = begin(night)
    shard_id = plan.shards[0].shard_id
    left = night.provider.upload(f"{shard_id}.jsonl", iter([b"{}\n"]))
    foreign = night.provider.upload("somebody-elses.jsonl", iter([b"{}\n"]))
    running = {file.file_id for file in night.provider.input_files()} - {left, foreign}
    assert len(running) == 3
    dry, removed = Removed(), Removed()
    remove_input_files(night.ledger, night.provider, dry, dry_run=True)
    remove_input_files(night.ledger, night.provider, removed)
    assert dry.input_files == removed.input_files == [left]
    assert {file.file_id for file in night.provider.input_files()} == running | {foreign}


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def store(night: Night, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", emulator.openai_base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-faults")
    return str(night.folder / "store")


def test_command_cancel(night: Night, emulator: Emulator, store: str, capfd: pytest.CaptureFixture[str]) -> None:
    emulator.arm("stuck", times=3)
    plan = begin(night)
    wait = Wait(wait_id="w", run_id="run-1", backfill_id=None, asset="queries", plans=(plan.ref,))
    night.ledger.record_wait(wait)
    arguments = ["cancel", "queries", "--provider", "openai", "--store", store]
    assert main(arguments) == 1
    assert "run-1" in capfd.readouterr().err
    assert main([*arguments, "--partition", "2026-11-02"]) == 0
    assert not night.ledger.is_canceled(plan.ref)
    assert main([*arguments, "--force"]) == 0
    assert "1 plan canceled" in capfd.readouterr().err
    night.settle(plan.ref)


def test_command_reconcile(night: Night, emulator: Emulator, store: str, capfd: pytest.CaptureFixture[str]) -> None:
    emulator.set_latency(5)
    emulator.arm("accept_then_drop", operation="batches.create")
    begin(night)
    ambiguous = [shard for shard in open_shards(store, night) if shard == "ambiguous"]
    assert len(ambiguous) == 1
    assert main(["reconcile", "--provider", "openai", "--store", store]) == 0
    assert set(open_shards(store, night)) == {"submitted"}
    assert "found its batch" in capfd.readouterr().err


def open_shards(store: str, night: Night) -> list[str]:
    return [str(shard.state) for shard in Ledger.open(LocalStore(store)).open_shards(night.provider.account)]


def test_command_gc(night: Night, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    night.run()
    assert main(["gc", "--store", store, "--provider", "openai", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("Would remove 0 replaced plans, 0 drafts, 0 shards")
    assert main(["gc", "--store", store + "-mistyped"]) == 1
    advance_account(night.ledger, night.provider)
