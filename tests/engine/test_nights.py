"""Whole nights: every row once and in order, nothing bought twice, what changed is bought and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deployment import Engine
from engine_nights import DATA, banking_days, edited, intent_spec, messages, spec_of

from batch_assets.engine import collect, plan_status
from batch_assets.errors import BatchAssetsError, ConfigError, PlanRefused
from batch_assets.tables import OUTPUT

real_texts = pytest.mark.skipif(not (DATA / "banking77.parquet").is_file(), reason=f"the real texts are not at {DATA}")


@real_texts
def test_three_real_days(engine: Engine) -> None:
    days = banking_days()
    distinct: set[str] = set()
    for number, rows in enumerate(days):
        landing = engine.night(rows, partition=f"day {number}")
        out = engine.table(landing)
        assert out.select(rows.column_names).equals(rows.cast(out.select(rows.column_names).schema))
        assert set(out["batch_outcome"].to_pylist()) == {"succeeded"}
        assert landing.outcomes == {"succeeded": rows.num_rows}
        assert out.schema.field("intent").type == pa.dictionary(pa.int32(), pa.string())
        assert out.schema.field("urgency").type == pa.int64()
        assert out.schema.names == [*rows.column_names, "intent", "urgency", "reason", *OUTPUT.names]
        assert {out.schema.field(name).type for name in ("batch_cost_usd",)} == {pa.decimal128(18, 12)}
        assert pc.all(pc.is_in(out["urgency"], value_set=pa.array([1, 2, 3, 4, 5]))).as_py()
        assert landing.cost_usd == sum(out["batch_cost_usd"].to_pylist(), Decimal(0)) > 0
        assert landing.saved_usd == landing.standard_usd - landing.cost_usd > 0
        assert landing.cost_usd <= landing.estimate.max_usd
        distinct |= set(rows["text"].to_pylist())
    assert engine.bill["surplus"] == 0
    assert engine.bought == engine.bill["distinct"] == len(distinct)
    assert engine.ledger.open_plans() == []
    assert engine.ledger.open_shards(engine.provider.account) == []


def test_an_unchanged_night_lands_again_and_buys_nothing(engine: Engine) -> None:
    rows = messages(20)
    first = engine.night(rows)
    table = engine.table(first)
    again = engine.reopened().night(rows)
    assert again.ref == first.ref
    assert engine.bought == 20
    assert engine.table(again).equals(table)


def test_the_batches_of_the_source_make_no_difference(engine: Engine) -> None:
    rows = messages(1000)
    first = engine.plan(rows)
    engine.submit()
    for chunk in (1, 300):
        again = engine.plan(pa.Table.from_batches(rows.to_batches(max_chunksize=chunk)))
        assert again.ref == first.ref


def test_one_edited_row_buys_one_request(engine: Engine) -> None:
    rows = messages(20)
    engine.night(rows)
    landing = engine.night(edited(rows, "text", 7, "I lost my card!"))
    out = engine.table(landing)
    assert engine.bought == 21
    assert (landing.ref.generation, landing.requests, landing.reused, landing.attempts) == (2, 20, 19, 1)
    assert [row for row, cached in enumerate(out["batch_cached"].to_pylist()) if not cached] == [7]
    assert out["text"][7].as_py() == "I lost my card!"
    assert landing.cost_usd == sum(out["batch_cost_usd"].to_pylist(), Decimal(0))
    assert [cost > 0 for cost in out["batch_cost_usd"].to_pylist()] == [row == 7 for row in range(20)]


@pytest.mark.parametrize("change", ["removed", "added", "shuffled", "renamed key"])
def test_other_changes_buy_only_what_is_new(engine: Engine, change: str) -> None:
    rows = messages(20)
    engine.night(rows)
    order = list(range(20))
    random.Random(1).shuffle(order)
    changed = {
        "removed": rows.slice(0, 15),
        "added": pa.concat_tables([messages(1, " more"), rows]).set_column(0, "id", pa.array(map(str, range(21)))),
        "shuffled": rows.take(order),
        "renamed key": edited(rows, "id", 3, "another"),
    }[change]
    landing = engine.night(changed)
    assert engine.bought == 20 + (change == "added")
    assert landing.ref.generation == 2
    assert engine.table(landing).select(rows.column_names).to_pylist() == changed.to_pylist()


def test_an_edited_column_that_no_prompt_uses_lands_anew_and_buys_nothing(engine: Engine) -> None:
    rows = messages(20)
    first = engine.night(rows)
    landing = engine.night(edited(rows, "note", 3, "edited"))
    assert landing.ref.generation == 2
    assert engine.bought == 20
    assert engine.table(landing)["note"][3].as_py() == "edited"
    assert landing.cost_usd == 0
    assert plan_status(engine.ledger, first.ref).plan_id == engine.ledger.plan(first.ref).plan_id


def test_prompt_a_then_b_then_a_buys_only_b(engine: Engine) -> None:
    rows = messages(10)
    first = engine.table(engine.night(rows, intent_spec("A {{ text }}")))
    engine.night(rows, intent_spec("B {{ text }}"))
    third = engine.night(rows, intent_spec("A {{ text }}"))
    assert engine.bought == 20
    assert (third.ref.generation, third.reused, third.cost_usd) == (3, 10, 0)
    out = engine.table(third)
    assert out["batch_custom_id"].equals(first["batch_custom_id"])
    assert set(out["batch_cached"].to_pylist()) == {True}


def test_the_table_is_that_of_the_plan_whatever_the_source_says_since(engine: Engine) -> None:
    rows = messages(10)
    plan = engine.plan(rows)
    engine.submit()
    changed = edited(edited(rows, "text", 0, "changed"), "note", 1, "changed")
    engine.settle(plan)
    out = engine.table(engine.land(plan.ref))
    assert out.select(rows.column_names).equals(rows)
    assert not out.select(rows.column_names).equals(changed)


def test_refresh_buys_everything_again(engine: Engine) -> None:
    rows = messages(10)
    engine.night(rows)
    landing = engine.night(rows, refresh=True)
    assert (engine.bought, landing.ref.generation, landing.reused) == (20, 2, 0)
    assert engine.night(rows).ref.generation == 2
    assert engine.bought == 20


def test_duplicate_rows_are_folded_and_cost_is_additive(engine: Engine) -> None:
    rows = pa.concat_tables([messages(10), messages(10), messages(5)])
    rows = rows.set_column(0, "id", pa.array([f"r{number}" for number in range(25)]))
    landing = engine.night(rows)
    out = engine.table(landing)
    assert engine.bought == 10
    assert (landing.rows, landing.requests, landing.folded, landing.attempts) == (25, 10, 15, 10)
    assert sum(out["batch_cost_usd"].to_pylist(), Decimal(0)) == landing.cost_usd > 0
    assert [cost > 0 for cost in out["batch_cost_usd"].to_pylist()] == [True] * 10 + [False] * 15
    assert out["batch_custom_id"].to_pylist()[10:20] == out["batch_custom_id"].to_pylist()[:10]
    assert out["reason"].to_pylist()[20:] == out["reason"].to_pylist()[:5]


def test_partitions_and_assets_do_not_mix(engine: Engine) -> None:
    rows = messages(3)
    landings = [
        engine.night(rows, intent_spec(asset=asset), partition)
        for asset in ("queries", "team/queries")
        for partition in ("a", "b", None, "2026-01-01|eu", "..", "a/b")
    ]
    assert len({landing.path for landing in landings}) == 12
    assert engine.bought == 36
    assert {landing.ref.generation for landing in landings} == {1}


def test_output_columns_are_those_asked_for(engine: Engine) -> None:
    landing = engine.night(messages(3), intent_spec(output_columns=("note",)))
    assert engine.table(landing).column_names[:4] == ["id", "note", "intent", "urgency"]


def test_what_a_batch_asset_above_added_is_not_carried_on(engine: Engine) -> None:
    """So one batch asset reads another's table as it is; a column of the user's own with such a name is an error."""
    above = engine.table(engine.night(messages(3), spec_of(str, "Say: {{ text }}", asset="above")))
    below = engine.table(engine.night(above, intent_spec("Classify {{ response }}", asset="below")))
    assert below.column_names[:6] == ["id", "text", "note", "response", "intent", "urgency"]
    assert below.column_names.count("batch_outcome") == 1
    with pytest.raises(ConfigError, match=r"batch_id.*output_columns"):
        engine.plan(messages(2).rename_columns(["id", "text", "batch_id"]), intent_spec(asset="mine"))
    with pytest.raises(ConfigError, match="batch_mine"):
        engine.plan(above.append_column("batch_mine", above["text"]), intent_spec(asset="mine"))


def test_the_first_night_teaches_the_estimates_of_the_next(engine: Engine) -> None:
    first = engine.night(messages(25), partition="d1")
    assert not first.estimate.calibrated
    assert first.estimate.output_tokens == 25 * 200  # the bound
    second = engine.night(messages(30, " again"), partition="d2")
    assert second.estimate.calibrated
    assert second.estimate.input_tokens == pytest.approx(second.input_tokens, rel=0.05)
    assert second.estimate.output_tokens == pytest.approx(second.output_tokens, rel=0.2)
    assert second.estimate.max_usd > 2 * second.estimate.usd  # the bound is one all the same
    other = engine.plan(messages(3), intent_spec("Another prompt: {{ text }}"), partition="d3")
    assert not other.estimate.calibrated


def test_a_plan_that_is_not_settled_does_not_land(engine: Engine) -> None:
    plan = engine.plan(messages(3))
    with pytest.raises(BatchAssetsError, match="generation 1 is not settled yet"):
        collect(engine.ledger, engine.tables, plan.ref)
    assert not engine.tables.exists("queries", "d1")


# -- money ----------------------------------------------------------------------------------------------------------


def test_over_budget_is_refused_with_figures_and_nothing_is_sent(engine: Engine) -> None:
    plan = engine.plan(messages(10), intent_spec(max_cost_usd=Decimal("0.0001")))
    assert plan.refused is not None
    assert "10 requests to gpt-5-mini would cost at most $0.0" in plan.refused
    assert "`max_cost_usd` of $0.0001" in plan.refused
    assert engine.submit() == 0
    assert engine.batches() == []
    assert engine.ledger.open_plans() == []
    assert engine.wait(plan.ref)[0].settled
    with pytest.raises(PlanRefused, match="would cost at most"):
        engine.land(plan.ref)
    landing = engine.night(messages(10), intent_spec(max_cost_usd=Decimal(1)))
    assert (landing.ref.generation, engine.bought) == (2, 10)


def test_a_refused_plan_does_not_replace_the_table_nor_the_plan_under_way(engine: Engine) -> None:
    plan = engine.plan(messages(10))
    refused = engine.plan(messages(20), intent_spec(max_cost_usd=Decimal("0.0001")))
    assert refused.refused is not None
    engine.submit()
    engine.settle(plan)
    assert engine.land(plan.ref).rows == 10
    assert engine.bought == 10


def test_what_is_cached_is_not_in_the_budget(engine: Engine) -> None:
    rows = messages(20)
    engine.night(rows)
    one_request = engine.plan(messages(1, "x"), partition="other").estimate.max_usd
    landing = engine.night(edited(rows, "text", 0, "new"), intent_spec(max_cost_usd=one_request * 2))
    assert landing.attempts == 1


def test_a_model_without_a_price_has_no_cost_and_no_budget(engine: Engine) -> None:
    spec = intent_spec(model="gpt-unheard-of")
    landing = engine.night(messages(2), spec)
    assert (landing.cost_usd, landing.saved_usd, landing.rate_source) == (None, None, "unknown")
    assert engine.table(landing)["batch_cost_usd"].null_count == 2
    plan = engine.plan(messages(3), intent_spec(model="gpt-unheard-of", max_cost_usd=Decimal(9)))
    assert "no price of 'gpt-unheard-of' is known" in (plan.refused or "")
    rates = {"gpt-unheard-of": {"input": 1.0, "output": 2.0}}
    priced = engine.night(messages(4), intent_spec(model="gpt-unheard-of", pricing=rates, max_cost_usd=Decimal(9)))
    assert priced.rate_source == "override"
    assert priced.cost_usd > 0


# -- memory of earlier nights ----------------------------------------------------------------------------------------


def test_two_deployments_of_one_account_do_not_touch_each_other(make_engine: Callable[..., Engine]) -> None:
    one, two = make_engine(name="one"), make_engine(name="two")
    first, second = one.plan(messages(5)), two.plan(messages(5))
    one.submit()
    two.submit()
    one.settle(first)
    two.settle(second)
    assert one.land(first.ref).outcomes == two.land(second.ref).outcomes == {"succeeded": 5}
    assert one.bought == 10
    assert len(one.batches()) == 2
