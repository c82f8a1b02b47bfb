"""Requests that fail: tried again where that may help, as often as allowed, for the money allowed, and never lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deployment import Engine
from engine_nights import edited, intent_spec, messages

from batch_assets.admission import QueueLimits
from batch_assets.engine import advance_account, poll_account
from batch_assets.engine.tick_line import _short
from batch_assets.errors import Transient
from batch_assets.records import Landing


def column(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist()


def test_a_request_that_succeeds_at_the_third_attempt(engine: Engine) -> None:
    engine.emulator.arm("request_error", contains="Message 3:", each=True, times=2)
    landing = engine.night(messages(6))
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": 6}
    assert column(out, "batch_attempts") == [1, 1, 1, 3, 1, 1]
    assert column(out, "batch_error") == [None] * 6
    assert (landing.attempts, len(landing.batch_ids), len(set(column(out, "batch_id")))) == (8, 3, 2)
    assert (engine.bought, engine.bill["errors"]) == (6, 2)
    assert landing.cost_usd == sum(column(out, "batch_cost_usd"), Decimal(0))


def test_answers_that_do_not_fit_are_cured_and_every_attempt_is_in_the_cost(engine: Engine) -> None:
    engine.emulator.arm("schema_violation", contains="Message 2:")
    engine.emulator.arm("invalid_json", contains="Message 4:")
    landing = engine.night(messages(6))
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": 6}
    assert column(out, "batch_attempts") == [1, 1, 2, 1, 2, 1]
    assert column(out, "batch_raw") == [None] * 6
    assert engine.bought == 8
    assert landing.cost_usd > sum(column(out, "batch_cost_usd"), Decimal(0)) > 0
    assert landing.output_tokens == engine.bill["output_tokens"]
    assert landing.input_tokens == engine.bill["input_tokens"]


def test_attempts_end_at_max_attempts_and_the_last_answer_is_kept(engine: Engine) -> None:
    engine.emulator.arm("schema_violation", contains="Message 1:", each=True, times=99)
    engine.emulator.arm("request_error", contains="Message 2:", each=True, times=99, message="out of order")
    landing = engine.night(messages(4), intent_spec(max_attempts=2))
    out = engine.table(landing)
    assert column(out, "batch_outcome") == ["succeeded", "invalid", "errored", "succeeded"]
    assert column(out, "batch_attempts") == [1, 2, 2, 1]
    assert column(out, "batch_error")[1].startswith("intent: ")
    assert '"unexpected"' in column(out, "batch_raw")[1]
    assert column(out, "batch_error")[2] == "out of order"
    assert column(out, "batch_raw")[2] is None
    assert column(out, "intent")[1:3] == [None, None]
    assert landing.errors == {"invalid": 1, "server_error": 1}
    assert engine.bought == 3 + 1
    assert landing.attempts == 6


@pytest.mark.parametrize(
    ("fault", "outcome", "said"),
    [
        ("refusal", "errored", "the model refused: "),
        ("content_filter", "errored", "content filter"),
        ("length", "invalid", "cut at max_output_tokens: "),
    ],
)
def test_what_another_attempt_does_not_cure_is_final(engine: Engine, fault: str, outcome: str, said: str) -> None:
    engine.emulator.arm(fault, contains="Message 1:", times=99)
    rows = messages(3)
    landing = engine.night(rows)
    out = engine.table(landing)
    assert column(out, "batch_outcome") == ["succeeded", outcome, "succeeded"]
    assert said in column(out, "batch_error")[1]
    assert column(out, "batch_attempts") == [1, 1, 1]
    assert column(out, "batch_cost_usd")[1] > 0
    assert engine.bought == 3
    engine.emulator.clear_faults()
    assert engine.night(rows).ref.generation == 1
    assert engine.bought == 3


def test_a_bad_parameter_is_not_tried_again(engine: Engine) -> None:
    engine.emulator.arm("request_error", contains="Message 1:", times=99, status=400, code="invalid_value")
    landing = engine.night(messages(3))
    assert landing.errors == {"invalid_value": 1}
    assert landing.attempts == 3


def test_planning_again_sends_exactly_the_requests_that_may_be_cured(engine: Engine) -> None:
    engine.emulator.arm("request_error", contains="Message 1:", each=True, times=99)
    engine.emulator.arm("refusal", contains="Message 2:", times=99)
    rows = messages(5)
    first = engine.night(rows, intent_spec(max_attempts=2))
    assert first.outcomes == {"succeeded": 3, "errored": 2}
    engine.emulator.clear_faults()
    second = engine.night(rows)
    out = engine.table(second)
    assert (second.ref.generation, second.reused, second.attempts) == (2, 4, 1)
    assert column(out, "batch_outcome") == ["succeeded", "succeeded", "errored", "succeeded", "succeeded"]
    assert column(out, "batch_cached") == [True, False, True, True, True]
    assert engine.bill["surplus"] == 0
    assert engine.night(rows).ref.generation == 2


# -- budget ---------------------------------------------------------------------------------------------------------


def spoiled_night(engine: Engine, *, share: Decimal) -> Landing:
    """All answers are invalid at first; the budget is the plan's own bound times `share`."""
    rows = messages(20)
    bound = engine.plan(rows, partition="measured").estimate.max_usd
    assert bound is not None
    engine.emulator.arm("schema_violation", each=True, times=1, contains=" again:")
    again = edited(rows, "text", 0, rows["text"][0].as_py())
    again = again.set_column(1, "text", pa.array([text.replace(":", " again:") for text in rows["text"].to_pylist()]))
    return engine.night(again, intent_spec(max_cost_usd=bound * share), partition="spoiled")


def test_no_round_begins_that_could_exceed_the_budget(engine: Engine) -> None:
    landing = spoiled_night(engine, share=Decimal("1.1"))
    assert landing.outcomes == {"invalid": 20}
    assert landing.attempts == 20
    out = engine.table(landing)
    assert out["batch_raw"].null_count == 0
    assert landing.cost_usd == sum(column(out, "batch_cost_usd"), Decimal(0))


def test_a_round_within_the_budget_is_sent(engine: Engine) -> None:
    landing = spoiled_night(engine, share=Decimal(2))
    assert landing.outcomes == {"succeeded": 20}
    assert landing.attempts == 40


def test_free_errors_leave_the_budget_for_the_next_round(engine: Engine) -> None:
    rows = messages(20)
    bound = engine.plan(rows, partition="measured").estimate.max_usd
    assert bound is not None
    engine.emulator.arm("request_error", each=True, times=1)
    landing = engine.night(rows, intent_spec(max_cost_usd=bound * Decimal("1.01")))
    assert landing.outcomes == {"succeeded": 20}


# -- batches that end early -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0, 0.3])
def test_what_an_expired_batch_finished_is_kept_and_the_rest_is_sent_again(engine: Engine, fraction: float) -> None:
    engine.emulator.arm("expired", fraction=fraction)
    landing = engine.night(messages(20))
    kept = int(20 * fraction)
    assert landing.outcomes == {"succeeded": 20}
    assert engine.bought == 20
    assert engine.bill["surplus"] == 0
    assert landing.attempts == 20 + 20 - kept
    assert sorted(column(engine.table(landing), "batch_attempts")) == [1] * kept + [2] * (20 - kept)


def test_requests_that_expire_every_time_are_expired_rows(engine: Engine) -> None:
    engine.emulator.arm("expired", fraction=0, times=2)
    landing = engine.night(messages(5), intent_spec(max_attempts=2))
    assert landing.outcomes == {"expired": 5}
    assert set(column(engine.table(landing), "batch_attempts")) == {2}
    again = engine.night(messages(5))
    assert (again.outcomes, engine.bought) == ({"succeeded": 5}, 5)


def test_what_a_batch_canceled_by_somebody_finished_is_kept_and_the_rest_is_left_alone(engine: Engine) -> None:
    engine.emulator.arm("canceled", fraction=0.5)
    landing = engine.night(messages(20))
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": 10, "canceled": 10}
    assert engine.bought == 10
    assert landing.attempts == 20
    assert all(
        (outcome == "succeeded") == (reason is not None)
        for outcome, reason in zip(column(out, "batch_outcome"), column(out, "reason"), strict=True)
    )
    again = engine.night(messages(20))
    assert (again.outcomes, again.reused, again.attempts, engine.bought) == ({"succeeded": 20}, 10, 10, 20)


def test_the_order_of_result_lines_does_not_matter_nor_do_foreign_and_double_ones(engine: Engine) -> None:
    rows = messages(50)
    clean = engine.table(engine.night(rows, partition="clean"))
    for fault in ("duplicated_lines", "foreign_lines"):
        engine.emulator.arm(fault, count=5)
    changed = rows.set_column(2, "note", pa.array([None] * 50, pa.string()))
    landing = engine.night(changed, partition="spoiled")
    out = engine.table(landing)
    own = ["id", "intent", "urgency", "reason", "batch_outcome"]
    assert out.select(own).to_pylist() == clean.select(own).to_pylist()


@pytest.mark.parametrize("fault", ["garbled_lines", "dropped_lines", "truncated", "empty", "cut"])
def test_a_spoiled_download_is_made_again(engine: Engine, fault: str) -> None:
    engine.emulator.arm(fault)
    landing = engine.night(messages(20))
    assert landing.outcomes == {"succeeded": 20}
    assert (engine.bought, landing.attempts) == (20, 20)


# -- batches that are not taken --------------------------------------------------------------------------------------


def test_a_batch_that_fails_its_validation_is_tried_again(engine: Engine) -> None:
    engine.emulator.arm("validation_failed", code="server_hiccup", message="Could not read the file.")
    landing = engine.night(messages(5))
    assert landing.outcomes == {"succeeded": 5}
    assert set(column(engine.table(landing), "batch_attempts")) == {2}


def test_a_batch_that_always_fails_its_validation_says_why_in_each_row(engine: Engine) -> None:
    engine.emulator.arm("validation_failed", code="invalid_model", message="That model is retired.", times=99)
    landing = engine.night(messages(5))
    out = engine.table(landing)
    assert landing.outcomes == {"errored": 5}
    assert set(column(out, "batch_error")) == {"the provider refused the batch: That model is retired."}
    assert landing.errors == {"invalid_model": 5}
    assert set(column(out, "batch_attempts")) == {3}
    assert engine.bought == 0


def test_a_line_that_the_provider_names_is_final_and_the_others_are_sent_again(engine: Engine) -> None:
    engine.emulator.arm("validation_failed", code="invalid_request", message="Bad line.", line=3)
    landing = engine.night(messages(5))
    out = engine.table(landing)
    assert column(out, "batch_outcome") == ["succeeded", "succeeded", "errored", "succeeded", "succeeded"]
    assert "Bad line." in column(out, "batch_error")[2]
    assert column(out, "batch_attempts") == [2, 2, 1, 2, 2]
    assert engine.bought == 4


def test_a_refused_create_is_told_in_each_row_and_can_be_planned_again(engine: Engine) -> None:
    words = {"status": 400, "code": "invalid_endpoint", "message": "That endpoint takes no batches."}
    engine.emulator.arm("refused", operation="batches.create", **words)
    plan = engine.plan(messages(5))
    engine.submit()
    status = engine.settle(plan)
    assert status.states == {"refused": 1}
    assert "That endpoint takes no batches." in status.reasons[0]
    landing = engine.land(plan.ref)
    out = engine.table(landing)
    assert landing.outcomes == {"errored": 5}
    (error,) = set(column(out, "batch_error"))
    assert error.startswith("the provider refused the batch: ")
    assert "That endpoint takes no batches." in error
    assert (landing.cost_usd, set(column(out, "batch_cost_usd"))) == (0, {Decimal(0)})
    again = engine.night(messages(5))
    assert (again.ref.generation, again.outcomes, engine.bought) == (2, {"succeeded": 5}, 5)


def test_a_full_queue_after_the_create_waits_and_burns_no_attempt(engine: Engine) -> None:
    engine.emulator.arm("token_limit_exceeded", times=2)
    plan = engine.plan(messages(5), intent_spec(max_attempts=1))
    engine.submit()
    (status,) = engine.wait(plan.ref, timeout_seconds=0.3)
    assert status.states == {"waiting": 1}
    assert "Enqueued token limit reached" in status.reasons[0]
    assert len(engine.batches()) == 1
    for seconds in (61, 121):
        engine.age(seconds)
        engine.wait(plan.ref, timeout_seconds=0.3)
    status = engine.settle(plan)
    landing = engine.land(plan.ref)
    assert (landing.outcomes, landing.attempts, engine.bought) == ({"succeeded": 5}, 5, 5)
    assert set(column(engine.table(landing), "batch_attempts")) == {1}


def asked(engine: Engine) -> int:
    """How often a create call met the fault that is armed."""
    (fault,) = engine.emulator.faults()
    return int(fault["seen"])


def test_a_full_queue_is_not_asked_by_every_shard_of_the_model(engine: Engine) -> None:
    first = engine.plan(messages(2, " first"), partition="first")
    engine.emulator.set_latency(3600)
    assert engine.submit() == 1
    engine.emulator.arm("refused", operation="batches.create", status=429, message="Full.", times=100)
    plans = [engine.plan(messages(3, f" {day}"), partition=day) for day in ("d1", "d2", "d3")]
    assert [engine.submit(), engine.submit()] == [0, 0]
    advance_account(engine.ledger, engine.provider)
    assert asked(engine) == 1
    assert engine.summary() == "openai: 4 open, 0 ended, 3 waiting for the queue"
    assert not poll_account(engine.ledger, engine.provider).needs_advance
    for seconds, times in ((61, 2), (61, 2), (61, 3)):  # the one that was refused asks again, after twice the time
        engine.age(seconds)
        advance_account(engine.ledger, engine.provider)
        assert asked(engine) == times
    engine.emulator.clear_faults()
    engine.emulator.advance(3601)
    advance_account(engine.ledger, engine.provider)  # a batch has left the queue, and one takes its place at once
    assert engine.bought == 2
    assert engine.summary() == "openai: 3 open, 0 ended, 2 waiting for the queue"
    engine.emulator.set_latency(0)
    engine.emulator.advance(3601)
    engine.age(3601)
    for plan in [first, *plans]:
        engine.settle(plan)
    assert engine.bought == 2 + 9


def test_a_queue_for_two_that_says_it_is_full_after_accepting_gets_few_batches_in_vain(engine: Engine) -> None:
    plans = [engine.plan(messages(3, f" {day}"), partition=f"d{day}") for day in range(8)]
    size = max(plan.shards[0].bytes for plan in plans)
    engine.emulator.set_limits(enqueued_tokens=2 * (size // 4) + 20)
    engine.emulator.set_latency(1800)
    minutes = 0
    while engine.summary() != "openai: nothing open":
        minutes += 1
        advance_account(engine.ledger, engine.provider)
        engine.emulator.advance(60)
        engine.age(60)
        assert minutes < 600
    failed = [batch for batch in engine.batches() if batch.queue_full]
    assert engine.bought == 8 * 3
    assert 6 <= len(failed) <= 26  # 6 at first; 34 where each asks for itself
    assert minutes < 300


def test_another_model_s_queue_is_another(engine: Engine) -> None:
    engine.emulator.arm("refused", operation="batches.create", status=429, message="Full.", times=1)
    plans = [engine.plan(messages(2, f" {day}"), partition=day) for day in ("d1", "d2")]
    assert engine.submit() == 0
    plans.append(engine.plan(messages(2), intent_spec(model="gpt-5-nano"), partition="other"))
    assert (engine.submit(), asked(engine)) == (1, 1)
    engine.age(61)
    for plan in plans:
        engine.settle(plan)
    assert engine.bought == 6


@pytest.mark.parametrize("retry_after", [5, None])
def test_a_429_waits_as_long_as_the_provider_says(engine: Engine, retry_after: int | None) -> None:
    engine.emulator.arm(
        "refused", operation="batches.create", status=429, retry_after=retry_after, message="Slow down."
    )
    plan = engine.plan(messages(3))
    assert engine.submit() == 0
    (status,) = engine.wait(plan.ref, timeout_seconds=0.2)
    assert status.states == {"waiting": 1}
    assert "Slow down." in status.reasons[0]
    engine.age(4)
    assert engine.wait(plan.ref, timeout_seconds=0.2)[0].states == {"waiting": 1}
    engine.age(2 if retry_after else 60)
    engine.settle(plan)
    assert engine.bought == 3


QUOTA = {
    "status": 429,
    "code": "insufficient_quota",
    "type": "insufficient_quota",
    "message": "You exceeded your quota.",
}


KEY = {"status": 401, "code": "invalid_api_key", "message": "Incorrect API key provided."}
ARCHIVED = {"status": 403, "message": "The project is archived."}
MODEL = {"status": 404, "code": "model_not_found", "message": "The model does not exist."}


def test_the_line_of_a_tick_says_what_waits_for_the_queue(engine: Engine) -> None:
    engine.provider.queue = QueueLimits(max_enqueued_tokens=2_000_000, max_open_batches=2)
    plans = [engine.plan(messages(3, f" {day}"), partition=day) for day in ("d1", "d2", "d3")]
    said = "openai: 3 open, 0 ended, 2 to be sent, 1 waiting for the queue (0 of 2M tokens, 0 of 2 batches)"
    assert engine.summary() == said
    engine.submit()
    tokens = sum(plan.shards[0].estimated_tokens for plan in plans[:2])
    queue = f"({tokens} of 2M tokens, 2 of 2 batches)"
    assert engine.summary() == f"openai: 3 open, 2 ended, 1 waiting for the queue {queue}"
    assert [_short(number) for number in (999, 90_400, 1_800_000, 2_000_000)] == ["999", "90.4k", "1.8M", "2M"]


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        *(("files.create", answer) for answer in (KEY, ARCHIVED, QUOTA)),
        *(("batches.create", answer) for answer in (KEY, ARCHIVED, QUOTA, MODEL)),
    ],
)
def test_a_blocked_account_waits_with_the_reason_where_a_person_looks(
    engine: Engine, operation: str, answer: dict[str, Any]
) -> None:
    engine.emulator.arm("refused", operation=operation, **answer)
    plan = engine.plan(messages(3), intent_spec(max_attempts=1))
    assert engine.submit() == 0
    (status,) = engine.wait(plan.ref, timeout_seconds=0.2)
    assert status.states == {"blocked": 1}
    assert answer["message"] in status.reasons[0]
    assert answer["message"] in engine.summary()
    assert engine.batches() == []
    engine.age(301)
    engine.settle(plan)
    assert engine.land(plan.ref).outcomes == {"succeeded": 3}
    assert engine.bought == 3


def test_what_one_result_file_holds_is_kept_where_the_other_is_gone(engine: Engine) -> None:
    engine.emulator.arm("request_error", contains="Message 2:", status=400)
    plan = engine.plan(messages(6), intent_spec(max_attempts=1))
    engine.submit()
    (batch,) = engine.batches()
    _, errors = batch.result_files
    engine.provider.delete_input(errors)  # any file of the account: here the one with the errors
    (status,) = engine.wait(plan.ref, timeout_seconds=1)
    assert not status.settled  # the provider's counts promise six lines
    engine.age(1000)
    later = engine.reopened()
    later.settle(plan)
    out = later.table(later.land(plan.ref))
    assert column(out, "batch_outcome") == ["succeeded", "succeeded", "missing", "succeeded", "succeeded", "succeeded"]
    assert engine.bought == 5


def test_an_upload_is_deleted_where_the_list_fails_behind_it(engine: Engine) -> None:
    engine.emulator.arm("refused", operation="batches.list", status=500, times=99)
    engine.plan(messages(3))
    with pytest.raises(Transient, match="500"):
        engine.submit()
    assert not list(engine.provider.input_files())
    assert engine.bought == 0
