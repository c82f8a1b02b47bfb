"""Which waiting shards may be sent."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from batch_assets.admission import QueueLimits, admit
from batch_assets.lifecycle import AT_PROVIDER, State
from batch_assets.records import PlanRef, Shard, ShardSpec, Transition

REF = PlanRef(asset="a", partition=None, generation=1)


def shard(tokens: int, state: State = State.WAITING) -> Shard:
    spec = ShardSpec(
        shard_id=f"s{tokens}",
        plan=REF,
        account="openai",
        provider="openai",
        round=0,
        requests=1,
        bytes=1,
        estimated_tokens=tokens,
        path="p",
    )
    return Shard(spec=spec, last=Transition(number=1, state=state, writer="w", at=datetime.now(UTC)))


def admitted(waiting: list[int], limits: QueueLimits, *, running: list[Shard] | None = None) -> list[int]:
    shards = [shard(tokens) for tokens in waiting]
    return [one.spec.estimated_tokens for one in admit(shards, [*shards, *(running or [])], limits)]


def test_without_limits_all_go() -> None:
    assert admitted([10**12, 5, 7], QueueLimits()) == [10**12, 5, 7]


def test_open_batches_count_until_they_have_ended() -> None:
    limits = QueueLimits(max_open_batches=3)
    running = [shard(1, state) for state in State]
    assert len(AT_PROVIDER) > 3
    assert admitted([1, 2], limits, running=running) == []
    assert admitted([1, 2, 3, 4], limits) == [1, 2, 3]
    assert admitted([1, 2, 3], limits, running=[shard(1, State.SUBMITTED), shard(1, State.ENDED)]) == [1, 2]


def test_tokens_fill_the_queue_up_to_exactly_its_limit() -> None:
    assert admitted([60, 40, 1], QueueLimits(max_enqueued_tokens=100)) == [60, 40]


def test_a_large_shard_is_not_starved_by_small_ones_behind_it() -> None:
    limits = QueueLimits(max_enqueued_tokens=100)
    assert admitted([50, 60, 10], limits) == [50]


def test_one_that_is_larger_than_the_queue_goes_alone() -> None:
    limits = QueueLimits(max_enqueued_tokens=100)
    assert admitted([500, 1], limits) == [500]
    assert admitted([500, 1], limits, running=[shard(1, State.SUBMITTED)]) == []


@given(
    st.lists(st.integers(0, 100)),
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(sorted(State))), max_size=8),
    st.none() | st.integers(0, 6),
    st.none() | st.integers(0, 200),
)
def test_no_limit_is_ever_exceeded(
    waiting: list[int], others: list[tuple[int, State]], batches: int | None, tokens: int | None
) -> None:
    running = [shard(size, state) for size, state in others if state is not State.WAITING]
    found = admitted(waiting, QueueLimits(max_open_batches=batches, max_enqueued_tokens=tokens), running=running)
    assert found == waiting[: len(found)]
    there = [one for one in running if one.state in AT_PROVIDER]
    if batches is not None and found:
        assert len(there) + len(found) <= batches
    if tokens is not None and len(found) + len(there) > 1 and found:
        assert sum(found) + sum(one.spec.estimated_tokens for one in there) <= tokens
