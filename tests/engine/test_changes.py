"""Plans that overtake each other: no request in two open batches, no older table over a newer one, one plan of two."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pytest
from deployment import Engine
from engine_nights import edited, intent_spec, messages, plan_and_submit

from batch_assets.admission import QueueLimits
from batch_assets.engine import advance_account, cancel_plan, plan_status
from batch_assets.records import PlanRef


def states(engine: Engine, ref: PlanRef) -> dict[str, int]:
    return plan_status(engine.ledger, ref).states


def test_a_changed_plan_waits_for_the_open_batches_and_buys_only_what_they_lack(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    first = engine.plan(messages(20))
    engine.submit()
    changed = edited(messages(20), "text", 4, "I lost my card")
    second = engine.plan(changed)
    assert [(spec.requests, spec.waits_for_earlier) for spec in second.shards] == [(1, False), (19, True)]
    engine.submit()
    assert len(engine.batches()) == 2
    engine.emulator.advance(3601)
    engine.settle(second)
    landing = engine.land(second.ref)
    out = engine.table(landing)
    assert engine.bought == 21
    assert engine.bill["surplus"] == 0
    assert out["text"].to_pylist() == changed["text"].to_pylist()
    assert landing.outcomes == {"succeeded": 20}
    assert (landing.reused, landing.attempts) == (19, 1)
    assert out["batch_cached"].to_pylist() == [row != 4 for row in range(20)]
    assert sum(out["batch_cost_usd"].to_pylist(), Decimal(0)) == landing.cost_usd > 0
    assert plan_status(engine.ledger, second.ref).results == 20
    # who waited for the first plan lands the newest table
    late = engine.land(first.ref)
    assert late.ref == second.ref
    assert engine.table(late).equals(out)
    assert engine.ledger.open_plans() == []
    assert engine.ledger.open_shards(engine.provider.account) == []


def test_what_fails_in_the_earlier_batches_is_sent_by_the_newer_plan(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    engine.emulator.arm("request_error", contains="Message 2:", each=True, times=1)
    engine.plan(messages(6))
    engine.submit()
    second = engine.plan(messages(5))
    assert [spec.waits_for_earlier for spec in second.shards] == [True]
    engine.emulator.advance(3601)
    engine.emulator.set_latency(0)
    engine.settle(second)
    landing = engine.land(second.ref)
    assert landing.outcomes == {"succeeded": 5}
    assert (landing.reused, landing.attempts) == (4, 1)
    assert engine.bill["surplus"] == 0
    assert engine.table(landing)["batch_cached"].to_pylist() == [True, True, False, True, True]


def test_shards_that_were_not_sent_are_superseded_and_their_requests_sent_once(
    make_engine: Callable[..., Engine],
) -> None:
    engine = make_engine(limits={"max_requests": 5}, queue=QueueLimits(max_open_batches=1))
    engine.emulator.set_latency(3600)
    first = engine.plan(messages(20))
    assert engine.submit() == 1
    second = engine.plan(edited(messages(20), "text", 0, "changed"))
    advance_account(engine.ledger, engine.provider)
    engine.emulator.advance(3601)
    engine.emulator.set_latency(0)
    engine.settle(second)
    landing = engine.land(second.ref)
    assert landing.outcomes == {"succeeded": 20}
    assert engine.bill["surplus"] == 0
    assert engine.bought == 21
    history = [engine.ledger.shard(spec.account, spec.shard_id).state for spec in first.shards]
    assert history == ["harvested", "superseded", "superseded", "superseded"]


def test_the_same_plan_again_joins_the_open_one(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    first = engine.plan(messages(5))
    engine.submit()
    again = engine.reopened()
    assert again.plan(messages(5)) == first
    assert again.submit() == 0
    assert len(engine.batches()) == 1


def test_prompt_a_while_b_is_open_while_a_is_open_buys_each_once(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    a, b = intent_spec("A {{ text }}"), intent_spec("B {{ text }}")
    for spec in (a, b, a):
        plan = engine.plan(messages(4), spec)
        engine.submit()
    assert plan.ref.generation == 3
    assert len(engine.batches()) == 2
    engine.emulator.advance(3601)
    engine.settle(plan)
    landing = engine.land(plan.ref)
    assert (landing.outcomes, landing.reused, landing.attempts) == ({"succeeded": 4}, 4, 0)
    assert engine.bought == 8


def test_a_plan_that_nobody_looks_at_any_more_leaves_no_marker(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    for prompt in ("A {{ text }}", "B {{ text }}"):
        plan = engine.plan(messages(4), intent_spec(prompt))
        engine.submit()
    engine.emulator.advance(3601)
    engine.settle(plan)
    assert engine.ledger.open_plans() == []
    assert engine.bought == 8


def test_a_refresh_of_an_open_plan_takes_its_fresh_results(engine: Engine) -> None:
    """A request is never in two open batches; what is being bought just now is fresh."""
    engine.night(messages(4))
    engine.emulator.set_latency(3600)
    refreshed = engine.plan(messages(4), refresh=True)
    assert refreshed.reused == 0
    engine.submit()
    again = engine.plan(messages(5), refresh=True)
    assert sorted((spec.requests, spec.waits_for_earlier) for spec in again.shards) == [(1, False), (4, True)]
    engine.submit()
    engine.emulator.advance(3601)
    engine.settle(again)
    assert engine.land(again.ref).outcomes == {"succeeded": 5}
    assert engine.bought == 4 + 4 + 1


def test_many_requests_under_way_are_taken_over_in_shards_under_the_limits(
    make_engine: Callable[..., Engine],
) -> None:
    engine = make_engine(limits={"max_requests": 7})
    engine.emulator.set_latency(3600)
    engine.emulator.arm("expired", fraction=0, times=3)
    engine.plan(messages(20))
    engine.submit()
    second = engine.plan(messages(19))
    assert [(spec.requests, spec.waits_for_earlier) for spec in second.shards] == [(7, True), (7, True), (5, True)]
    engine.emulator.advance(90_000)
    engine.emulator.set_latency(0)
    engine.settle(second)
    assert engine.land(second.ref).outcomes == {"succeeded": 19}
    assert max(batch.total for batch in engine.batches()) == 7
    assert engine.bought == 19


def test_on_change_cancel_cancels_the_open_batches_and_keeps_what_they_finished(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    engine.emulator.arm("stuck", fraction=0.5)
    engine.plan(messages(20))
    engine.submit()
    engine.emulator.advance(3601)
    engine.emulator.set_latency(0)
    second = engine.plan(edited(messages(20), "text", 0, "changed"), intent_spec(on_change="cancel"))
    engine.submit()
    engine.wait(second.ref, timeout_seconds=0.1)
    engine.emulator.advance(3601)
    engine.settle(second)
    landing = engine.land(second.ref)
    assert landing.outcomes == {"succeeded": 20}
    assert engine.bill["surplus"] == 0
    assert engine.bought in {20, 21}
    assert sorted(batch.raw_status for batch in engine.batches()) == ["cancelled", "completed", "completed"]


def test_a_late_collect_never_overwrites_a_newer_table(engine: Engine) -> None:
    first = engine.plan(messages(5))
    engine.submit()
    engine.settle(first)
    second = engine.night(edited(messages(5), "note", 0, "newer"))
    with engine.tables.scratch() as old:
        pa.parquet.write_table(engine.table(second).slice(0, 1), old)
        assert not engine.tables.publish(old, "queries", "d1", 1)
    assert engine.land(first.ref).ref == second.ref
    assert engine.table(second)["note"][0].as_py() == "newer"


def test_a_new_store_replaces_the_tables_of_an_old_one(make_engine: Callable[..., Engine]) -> None:
    """Generations count from 1 again: an old table must not look newer."""
    old, new = make_engine(name="old"), make_engine(name="new")
    for number in range(3):
        landing = old.night(edited(messages(3), "note", 0, str(number)))
    assert landing.ref.generation == 3
    new.tables = old.tables
    landing = new.night(edited(messages(3), "note", 0, "new store"))
    assert landing.ref.generation == 1
    assert new.table(landing)["note"][0].as_py() == "new store"


def test_a_canceled_plan_keeps_what_it_has_and_can_be_planned_again(engine: Engine) -> None:
    engine.emulator.set_latency(3600)
    engine.emulator.arm("stuck", fraction=0.25)
    plan = engine.plan(messages(8))
    engine.submit()
    engine.emulator.advance(3601)
    cancel_plan(engine.ledger, engine.provider, plan.ref)
    cancel_plan(engine.ledger, engine.provider, plan.ref)
    engine.emulator.advance(3601)
    engine.settle(plan)
    landing = engine.land(plan.ref)
    assert landing.outcomes == {"succeeded": 2, "canceled": 6}
    engine.emulator.set_latency(0)
    again = engine.night(messages(8))
    assert (again.outcomes, again.reused, engine.bought) == ({"succeeded": 8}, 2, 8)


def test_a_plan_canceled_before_it_was_sent(engine: Engine) -> None:
    plan = engine.plan(messages(3))
    cancel_plan(engine.ledger, engine.provider, plan.ref)
    assert engine.submit() == 0
    engine.settle(plan)
    landing = engine.land(plan.ref)
    out = engine.table(landing)
    assert landing.outcomes == {"canceled": 3}
    assert landing.errors == {"never_sent": 3}
    assert "never sent" in out["batch_error"][0].as_py()
    assert out["batch_custom_id"].null_count == 3


# -- planners that die or race --------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [0, 1])
def test_shards_of_a_planner_that_died_are_opened_by_the_next_advance(
    make_engine: Callable[..., Engine], opened: int
) -> None:
    engine = make_engine(limits={"max_requests": 5})
    elsewhere = make_engine(limits={"max_requests": 5}, name="elsewhere")
    plan = elsewhere.plan(messages(10))
    # its own store as it was when the planner died behind `plan.json` and `opened` of its shards
    store = engine.ledger.store
    for entry in elsewhere.ledger.store.list("default/assets"):
        assert store.write_new(entry.path, elsewhere.ledger.store.read(entry.path))
    engine.ledger.mark_open(plan.ref, plan.account)
    for spec in plan.shards[:opened]:
        engine.ledger.open_shard(spec)
    assert not plan_status(engine.ledger, plan.ref).settled
    engine.age(61)
    engine.settle(plan)
    assert engine.land(plan.ref).outcomes == {"succeeded": 10}
    assert engine.bought == 10


def test_a_planner_that_died_before_its_plan_leaves_nothing_that_matters(engine: Engine) -> None:
    ref = PlanRef(asset="queries", partition="d1", generation=1)
    engine.ledger.mark_open(ref, engine.provider.account)
    engine.age(3600)
    assert "nothing open" in engine.summary()
    advance_account(engine.ledger, engine.provider)
    assert engine.night(messages(3)).outcomes == {"succeeded": 3}
    assert engine.ledger.open_plans() == []


def test_a_planner_that_fails_leaves_no_files(engine: Engine) -> None:
    rows = pa.concat_tables([messages(300), messages(1)])
    with pytest.raises(Exception, match="must be unique"):
        engine.plan(rows)
    assert list(engine.ledger.store.list("default")) == []


def test_two_planners_in_two_processes_make_one_plan_and_one_bill(engine: Engine) -> None:
    context = multiprocessing.get_context("spawn")
    starting, found = context.Barrier(2), context.Queue()
    arguments = (engine.folder, engine.emulator.openai_base_url, starting, found)
    planners = [context.Process(target=plan_and_submit, args=arguments) for _ in range(2)]
    for process in planners:
        process.start()
    plans = [found.get(timeout=90) for _ in planners]
    for process in planners:
        process.join()
    assert len(set(plans)) == 1
    assert plans[0][0] == 1
    ref = PlanRef(asset="queries", partition="d1", generation=1)
    engine.settle(engine.ledger.plan(ref))
    assert engine.land(ref).outcomes == {"succeeded": 2000}
    assert engine.bought == 2000
    assert len(engine.batches()) == 1
    drafts = {entry.path.split("/")[4] for entry in engine.ledger.store.list("default/assets/queries/d1/drafts")}
    assert len(drafts) == 1


# -- several shards and admission --------------------------------------------------------------------------------------


def test_a_night_of_several_shards(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits={"max_requests": 100})
    rows = messages(1050)
    landing = engine.night(rows)
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": 1050}
    assert len(landing.batch_ids) == 11
    assert out["text"].to_pylist() == rows["text"].to_pylist()
    assert all(str(row) in reason for row, reason in enumerate(out["reason"].to_pylist()))
    assert [batch.total for batch in engine.batches()[::-1]] == [100] * 10 + [50]
    assert engine.bought == 1050


def test_shards_are_cut_by_the_bytes_that_the_provider_counts(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits={"max_bytes": 20_000})
    engine.emulator.set_limits(max_bytes=20_000)
    landing = engine.night(messages(100))
    assert landing.outcomes == {"succeeded": 100}
    sizes = [spec.bytes for spec in engine.ledger.plan(landing.ref).shards]
    assert len(sizes) > 2
    assert max(sizes) <= 20_000
    assert all(size > 19_000 for size in sizes[:-1])


@pytest.mark.parametrize("queue", [QueueLimits(max_open_batches=2), QueueLimits(max_enqueued_tokens=2900)])
def test_admission_never_lets_more_in_than_fits(make_engine: Callable[..., Engine], queue: QueueLimits) -> None:
    engine = make_engine(limits={"max_requests": 10}, queue=queue)
    engine.emulator.set_latency(3600)
    plan = engine.plan(messages(50))
    if queue.max_enqueued_tokens:
        assert 1000 < plan.shards[0].estimated_tokens < 1450
    sent = engine.submit()
    for _ in range(4):
        running = [batch for batch in engine.batches() if batch.ended_at is None]
        assert len(running) <= 2
        engine.emulator.advance(3601)
        advance_account(engine.ledger, engine.provider)
    assert sent == 2
    engine.settle(plan)
    assert engine.land(plan.ref).outcomes == {"succeeded": 50}
    assert engine.bought == 50
    assert "nothing open" in engine.summary()
