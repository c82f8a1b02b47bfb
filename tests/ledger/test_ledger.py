"""The journal: numbers are taken once, nothing is overwritten, what is open is found, what is foreign is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batch_assets.encoding import encode
from batch_assets.errors import ConfigError, CorruptObject, StoreError, UnknownFormat, UnknownTransition
from batch_assets.ledger import Ledger
from batch_assets.lifecycle import TERMINAL, TRANSITIONS, Event, State
from batch_assets.records import EstimateRecord, PlanRecord, PlanRef, Request, Shard, ShardSpec, Wait
from batch_assets.storage.local import LocalStore

REF = PlanRef(asset="team/queries", partition="2026-11-24", generation=1)
ACCOUNT = "openai+127.0.0.1:80"
KEYS = [
    None,
    "a",
    "a/b",
    "..",
    ".",
    "../../x",
    ".tmp",
    "%none",
    "",
    "x" * 300,
    "漢" * 300,
    "new\nline",
    "a|b",
    "A",
    "~",
]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(LocalStore(tmp_path / "store"))


def spec(number: int = 0, *, ref: PlanRef = REF, account: str = ACCOUNT) -> ShardSpec:
    return ShardSpec(
        shard_id=f"shard{number:05}",
        plan=ref,
        account=account,
        provider="openai",
        round=0,
        requests=10,
        bytes=1000,
        estimated_tokens=500,
        path="p",
    )


def plan(ref: PlanRef = REF, **more: Any) -> PlanRecord:
    facts = {
        "ref": ref,
        "plan_id": "p",
        "snapshot_id": "s",
        "code_version": "c",
        "draft": "d",
        "provider": "openai",
        "account": ACCOUNT,
        "vendor": "openai",
        "request": Request(model="m", json_schema={"b": 1, "a": [None, 1.5]}, params={"seed": 1}),
        "row_key": "id",
        "rows": 2,
        "requests": 2,
        "unrenderable": 0,
        "reused": 0,
        "shards": (spec(0, ref=ref), spec(1, ref=ref)),
        "output_schema": {"name": "x"},
        "estimate": EstimateRecord(
            input_tokens=1,
            output_tokens=2,
            usd=Decimal("0.000000000001"),
            standard_usd=None,
            max_usd=Decimal(3),
            rate_source="published",
        ),
        "max_attempts": 3,
        "max_cost_usd": Decimal("25.10"),
        "refused": None,
        "created_at": datetime(2026, 11, 24, 1, 2, 3, 456, tzinfo=UTC),
        "writer": "w",
    }
    return PlanRecord(**{**facts, **more})


def opened(ledger: Ledger, number: int = 0) -> Shard:
    ledger.open_shard(spec(number))
    return ledger.shard(ACCOUNT, spec(number).shard_id)


def paths(ledger: Ledger) -> list[str]:
    return [entry.path for entry in ledger.store.list("")]


# -- the store --------------------------------------------------------------------------------------------------------


def test_a_store_has_one_id_for_good(tmp_path: Path) -> None:
    first = Ledger.open(LocalStore(tmp_path))
    again = Ledger.open(LocalStore(tmp_path), "staging")
    other = Ledger.open(LocalStore(tmp_path / "other"))
    assert len(first.store_id) == 16
    assert again.store_id == first.store_id != other.store_id
    assert len({first.name, again.name, other.name}) == 3


def test_a_namespace_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`namespace` is empty"):
        Ledger.open(LocalStore(tmp_path), "")


def test_namespaces_do_not_see_each_other(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    one, two = Ledger.open(store, "prod"), Ledger.open(store, "staging")
    assert one.publish_plan(plan())
    one.open_shards_of(plan())
    assert two.head(REF.asset, REF.partition) is None
    assert (two.open_plans(), two.open_shards(ACCOUNT), two.waits()) == ([], [], [])
    assert one.stamp(spec()) != two.stamp(spec())


# -- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written(ledger: Ledger) -> None:
    written = plan()
    assert ledger.publish_plan(written)
    assert ledger.plan(REF) == ledger.head(REF.asset, REF.partition) == written
    assert list(ledger.plan(REF).request.json_schema or ()) == ["b", "a"]  # the order of fields counts


def test_of_two_planners_one_publishes(ledger: Ledger) -> None:
    assert ledger.publish_plan(plan(writer="first"))
    assert not ledger.publish_plan(plan(writer="second"))
    assert ledger.plan(REF).writer == "first"


def test_a_planner_whose_reply_was_lost_knows_its_own_plan(ledger: Ledger) -> None:
    mine = plan(writer="mine")
    ledger.publish_plan(mine)
    assert ledger.publish_plan(mine)


def test_the_highest_generation_is_current(ledger: Ledger) -> None:
    for generation in (1, 2, 10):
        ledger.publish_plan(plan(replace(REF, generation=generation)))
    ledger.publish_plan(plan(replace(REF, partition="other", generation=7)))
    assert ledger.generations(REF.asset, REF.partition) == [1, 2, 10]
    head = ledger.head(REF.asset, REF.partition)
    assert head is not None
    assert head.ref.generation == 10
    assert [record.ref.generation for record, _ in ledger.heads()] == [10, 7]


def test_open_plans_are_found_until_they_are_closed(ledger: Ledger) -> None:
    ledger.publish_plan(plan())
    (found,) = ledger.open_plans()
    assert (found.ref, found.account, found.opened) == (REF, ACCOUNT, False)
    ledger.open_shards_of(plan())
    assert [found.opened for found in ledger.open_plans()] == [True]
    assert ledger.open_generations(REF.asset, REF.partition) == [1]
    ledger.close_plan(REF)
    ledger.close_plan(REF)
    assert ledger.open_plans() == []
    assert ledger.open_generations(REF.asset, REF.partition) == []
    assert ledger.plan(REF)


@pytest.mark.parametrize("asset", [key for key in KEYS if key is not None], ids=repr)
def test_no_key_leaves_its_folder_or_meets_another(ledger: Ledger, asset: str, tmp_path: Path) -> None:
    for number, partition in enumerate(KEYS):
        ref = PlanRef(asset=asset, partition=partition, generation=1)
        assert ledger.publish_plan(plan(ref, plan_id=str(number)))
        ledger.open_shards_of(plan(ref, shards=()))
    for number, partition in enumerate(KEYS):
        ref = PlanRef(asset=asset, partition=partition, generation=1)
        assert (ledger.plan(ref).plan_id, ledger.plan(ref).ref) == (str(number), ref)
    assert {found.ref.partition for found in ledger.open_plans()} == set(KEYS)
    assert {path.split("/")[0] for path in paths(ledger)} == {"store.json", "default"}
    assert {path.count("/") for path in paths(ledger) if "/plans/" in path} == {5}
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("namespace", [key for key in KEYS if key], ids=repr)
def test_no_namespace_or_account_leaves_its_folder(tmp_path: Path, namespace: str) -> None:
    ledger = Ledger.open(LocalStore(tmp_path / "store"), namespace)
    ledger.open_shard(spec(account=namespace))
    assert ledger.claim_batch(spec(account=namespace), namespace)
    assert [shard.spec.account for shard in ledger.open_shards(namespace)] == [namespace]
    assert len({path.split("/")[0] for path in paths(ledger)}) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


# -- shards -----------------------------------------------------------------------------------------------------------


def test_a_shard_is_opened_once(ledger: Ledger) -> None:
    first = opened(ledger)
    assert (first.state, first.last.number, first.spec) == (State.WAITING, 1, spec())
    assert opened(ledger).last == first.last
    assert ledger.find_shard(ACCOUNT, "unheardof0") is None
    with pytest.raises(StoreError, match="unheardof0"):
        ledger.shard(ACCOUNT, "unheardof0")


def test_of_two_processes_one_advances_a_shard(ledger: Ledger) -> None:
    seen_by_one = opened(ledger)
    seen_by_two = ledger.shard(ACCOUNT, spec().shard_id)
    after = ledger.advance(seen_by_one, Event.INTEND, input_file="f", attempt=1)
    assert after is not None
    assert after.state is State.SUBMITTING
    assert ledger.advance(seen_by_two, Event.CANCEL) is None
    assert ledger.shard(ACCOUNT, spec().shard_id).state is State.SUBMITTING
    assert [entry.state for entry in ledger.history(spec())] == [State.WAITING, State.SUBMITTING]


def test_what_the_next_entry_needs_is_carried_over(ledger: Ledger) -> None:
    shard = opened(ledger)
    for event, fields in [
        (Event.INTEND, {"input_file": "file-1", "attempt": 1, "anchor": "batch-0", "reason": "gone"}),
        (Event.DOUBT, {"reason": "lost"}),
        (Event.FIND, {"batch_id": "batch-1"}),
        (Event.END, {}),
    ]:
        after = ledger.advance(shard, event, **fields)
        assert after is not None
        shard = after
    last = ledger.shard(ACCOUNT, spec().shard_id).last
    assert (last.batch_id, last.input_file, last.attempt, last.anchor, last.reason) == (
        "batch-1",
        "file-1",
        1,
        "batch-0",
        None,
    )


def test_an_event_that_the_state_cannot_take_writes_nothing(ledger: Ledger) -> None:
    shard = opened(ledger)
    before = paths(ledger)
    with pytest.raises(UnknownTransition):
        ledger.advance(shard, Event.HARVEST)
    assert paths(ledger) == before


def test_every_terminal_state_closes_the_shard(ledger: Ledger) -> None:
    ways = {
        State.CANCELED: [Event.CANCEL],
        State.SPLIT: [Event.SPLIT],
        State.SUPERSEDED: [Event.SUPERSEDE],
        State.REFUSED: [Event.INTEND, Event.REFUSE],
        State.LOST: [Event.INTEND, Event.ACCEPT, Event.VANISH],
        State.HARVESTED: [Event.INTEND, Event.ACCEPT, Event.END, Event.HARVEST],
    }
    assert set(ways) == TERMINAL
    for number, (state, events) in enumerate(ways.items()):
        shard = opened(ledger, number)
        for event in events:
            assert [one.spec.shard_id for one in ledger.open_shards(ACCOUNT)] == [shard.spec.shard_id]
            after = ledger.advance(shard, event)
            assert after is not None
            shard = after
        assert shard.state is state
        assert ledger.open_shards(ACCOUNT) == []
        ledger.open_shard(shard.spec)  # a late opener does not bring it back
        assert ledger.open_shards(ACCOUNT) == []
        assert not [path for path in paths(ledger) if f"/open/{shard.spec.shard_id}" in path]


def test_open_shards_come_in_the_order_of_their_opening(ledger: Ledger) -> None:
    for number in (5, 1, 9, 3):
        ledger.open_shard(spec(number))
    assert [shard.spec.shard_id[-1] for shard in ledger.open_shards(ACCOUNT)] == list("5193")


@pytest.mark.parametrize("kept", ["marker", "spec", "journal"])
def test_an_opener_that_died_is_finished_by_the_next(ledger: Ledger, kept: str) -> None:
    opened(ledger)
    files = {"marker": "/open/", "spec": "spec.json", "journal": "/journal/"}
    order = list(files)
    for gone in order[order.index(kept) + 1 :]:
        for path in paths(ledger):
            if files[gone] in path:
                ledger.store.delete(path)
    assert len(ledger.open_shards(ACCOUNT)) == (kept == "journal")
    ledger.open_shard(spec())
    assert [shard.state for shard in ledger.open_shards(ACCOUNT)] == [State.WAITING]


def test_a_batch_has_one_owner(ledger: Ledger) -> None:
    assert ledger.owner(ACCOUNT, "batch_1") is None
    assert ledger.claim_batch(spec(1), "batch_1")
    assert ledger.claim_batch(spec(1), "batch_1")
    assert not ledger.claim_batch(spec(2), "batch_1")
    assert ledger.owner(ACCOUNT, "batch_1") == "shard00001"
    assert ledger.owner("another account", "batch_1") is None


def test_waits_are_kept_until_they_end(ledger: Ledger) -> None:
    wait = Wait(wait_id="w/1", run_id="r", backfill_id=None, asset="a", plans=(REF,), downstream=("b",))
    ledger.record_wait(wait)
    ledger.record_wait(wait)
    assert ledger.waits() == [wait]
    ledger.end_wait("w/1")
    ledger.end_wait("w/1")
    assert ledger.waits() == []


# -- corrupt, foreign, newer ------------------------------------------------------------------------------------------


READERS: dict[str, Callable[[Ledger], object]] = {
    "store.json": lambda ledger: Ledger.open(ledger.store),
    "/plans/": lambda ledger: ledger.head(REF.asset, REF.partition),
    ".planned.json": lambda ledger: ledger.open_plans(),
    "spec.json": lambda ledger: ledger.open_shards(ACCOUNT),
    "/journal/": lambda ledger: ledger.open_shards(ACCOUNT),
    "/batches/": lambda ledger: ledger.owner(ACCOUNT, "batch_1"),
    "/waits/": lambda ledger: ledger.waits(),
    "/lease/": lambda ledger: ledger.newest_lease(ACCOUNT),
}


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """A ledger with an object of each kind."""
    ledger.publish_plan(plan())
    ledger.open_shards_of(plan())
    ledger.claim_batch(spec(), "batch_1")
    ledger.record_wait(Wait(wait_id="w", run_id="r", backfill_id=None, asset="a", plans=(REF,)))
    ledger.take_lease(ACCOUNT, 1, 60)
    return ledger


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[: len(data) // 2], CorruptObject),
        (lambda data: b"", CorruptObject),
        (lambda data: b"\x00\xff binary", CorruptObject),
        (lambda data: b'["a list"]', CorruptObject),
        (lambda data: b'{"format": 1, "foreign": true}', CorruptObject),
        (lambda data: b'{"something": "else"}', CorruptObject),
        (lambda data: data.replace(b'"format": 1', b'"format": 2'), UnknownFormat),
    ],
    ids=["torn", "empty", "binary", "list", "foreign", "no format", "newer"],
)
def test_a_bad_object_is_named_and_left_as_it_is(
    full: Ledger, kind: str, damage: Callable[[bytes], bytes], error: type[StoreError]
) -> None:
    path = next(path for path in paths(full) if kind in path)
    file = Path(full.store.url, path)
    bad = damage(file.read_bytes())
    file.write_bytes(bad)
    with pytest.raises(error, match=path.rsplit("/", maxsplit=1)[-1]) as caught:
        READERS[kind](full)
    assert path in str(caught.value.path)
    assert full.store.url in str(caught.value)
    assert ("upgrade" in str(caught.value)) == (error is UnknownFormat)
    assert file.read_bytes() == bad


def test_a_bad_object_is_not_overwritten_by_a_writer(full: Ledger) -> None:
    shard = full.shard(ACCOUNT, spec().shard_id)
    path = next(path for path in paths(full) if f"{shard.spec.shard_id}/journal/" in path)
    taken = Path(full.store.url, path).with_name("0002.json")
    taken.write_bytes(b"not ours")
    with pytest.raises(CorruptObject, match=r"0002\.json"):
        full.advance(shard, Event.INTEND)
    assert taken.read_bytes() == b"not ours"


@pytest.mark.parametrize("kind", ["/plans/", "/journal/"])
def test_a_foreign_file_among_numbered_ones_is_named(full: Ledger, kind: str) -> None:
    folder = Path(full.store.url, next(path for path in paths(full) if kind in path)).parent
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(CorruptObject, match=rf"{kind}notes\.txt .* is not an object of batch_assets"):
        READERS[kind](full)
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_older_versions_wrote_is_read(ledger: Ledger) -> None:
    """Fields that were added later have defaults: nothing of format 1 may ever become unreadable."""
    first = {"number": 1, "state": "waiting", "writer": "w", "at": "2026-11-24T00:00:00Z", "format": 1}
    shard = {
        "shard_id": "shard00000",
        "plan": {"asset": "a", "partition": None, "generation": 1},
        "account": ACCOUNT,
        "provider": "openai",
        "round": 0,
        "requests": 1,
        "bytes": 10,
        "estimated_tokens": 5,
        "path": "p",
        "format": 1,
    }
    folder = f"default/accounts/{ACCOUNT.replace(':', '%3A')}/shards/shard00000"
    ledger.store.write_new(f"{folder}/journal/0001.json", json.dumps(first).encode())
    ledger.store.write_new(f"{folder}/spec.json", json.dumps(shard).encode())
    found = ledger.shard(ACCOUNT, "shard00000")
    assert (found.state, found.spec.requests, found.spec.waits_for_earlier) == (State.WAITING, 1, False)
    old = json.loads(encode(plan()))
    for added in ("refresh", "on_change", "on_ambiguous", "pricing", "assumed_batch_discount"):
        del old[added]
    ledger.store.write_new("default/assets/team%2Fqueries/2026-11-24/plans/000001.json", json.dumps(old).encode())
    assert ledger.plan(REF) == plan()


def test_the_names_of_states_are_for_good() -> None:
    assert {str(state) for state in State} >= {
        "waiting", "submitting", "ambiguous", "blocked", "submitted", "canceling", "ended",
        "harvested", "refused", "lost", "canceled", "split", "superseded",
    }  # fmt: skip
    assert {source for source, _ in TRANSITIONS} | set(TERMINAL) == set(State)
