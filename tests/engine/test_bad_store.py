"""Objects that are damaged, foreign, gone or in the way: named, never overwritten, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deployment import Engine
from engine_nights import edited, messages

from batch_assets.errors import CorruptObject, StoreError, UnknownFormat
from batch_assets.records import PlanRecord
from batch_assets.storage.local import LocalStore


def stored(engine: Engine, part: str) -> Path:
    """The one stored object with `part` in its path."""
    (path,) = [entry.path for entry in engine.ledger.store.list("") if part in entry.path]
    return Path(engine.ledger.store.url, path)


def settled(engine: Engine) -> PlanRecord:
    plan = engine.plan(messages(5))
    engine.submit()
    engine.settle(plan)
    return plan


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"id,text\n1,hello\n" * 20,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("part", ["snapshot.parquet", "/results-"])
def test_a_damaged_file_of_a_plan_is_named_when_its_table_lands(engine: Engine, part: str, damage: str) -> None:
    plan = settled(engine)
    file = stored(engine, part)
    bad = DAMAGE[damage](file.read_bytes())
    file.write_bytes(bad)
    with pytest.raises(CorruptObject, match=file.name) as caught:
        engine.land(plan.ref)
    assert engine.ledger.store.url in str(caught.value)
    assert file.read_bytes() == bad
    assert not engine.tables.exists("queries", "d1")
    assert list(Path(engine.tables.root, ".tmp").glob("*.parquet")) == []


@pytest.mark.parametrize("part", ["snapshot.parquet", "/results-"])
def test_a_file_of_a_plan_that_is_gone_is_named(engine: Engine, part: str) -> None:
    plan = settled(engine)
    stored(engine, part).unlink()
    with pytest.raises(CorruptObject, match=f"{part}.* is gone"):
        engine.land(plan.ref)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_shard_with_damaged_requests_does_not_stop_the_others(
    make_engine: Callable[..., Engine], damage: str
) -> None:
    engine = make_engine(limits={"max_requests": 5})
    first, second = engine.plan(messages(5), partition="damaged"), engine.plan(messages(6), partition="whole")
    file = Path(engine.ledger.store.url, first.shards[0].path)
    whole = file.read_bytes()
    bad = DAMAGE[damage](whole)
    file.write_bytes(bad)
    engine.submit()
    engine.settle(second)
    assert engine.land(second.ref).outcomes == {"succeeded": 6}
    assert engine.bought == 6
    assert file.read_bytes() == bad
    (status,) = engine.wait(first.ref, timeout_seconds=0)
    assert status.states == {"blocked": 1}
    assert "damaged/drafts" in status.reasons[0]
    assert "damaged/drafts" in engine.summary()
    file.write_bytes(whole)
    engine.age(301)
    engine.settle(first)
    assert engine.land(first.ref).outcomes == {"succeeded": 5}


def test_a_newer_version_has_been_here(engine: Engine) -> None:
    settled(engine)
    plan = stored(engine, "/plans/")
    plan.write_bytes(plan.read_bytes().replace(b'"format": 1', b'"format": 7'))
    with pytest.raises(UnknownFormat, match=r"plans/000001\.json .* has format 7"):
        engine.plan(messages(5))
    header = stored(engine, "store.json")
    header.write_bytes(header.read_bytes().replace(b'"format": 1', b'"format": 7'))
    with pytest.raises(UnknownFormat, match=r"store\.json .*upgrade batch_assets"):
        engine.reopened()
    assert engine.bought == 5


def test_a_foreign_file_in_the_place_of_the_table_is_replaced_whole(engine: Engine) -> None:
    plan = settled(engine)
    target = Path(engine.tables.path("queries", "d1"))
    target.parent.mkdir(parents=True)
    target.write_text("an earlier export")
    engine.land(plan.ref)
    assert pq.read_table(target, partitioning=None).num_rows == 5


def test_readers_see_whole_tables_while_new_ones_land(engine: Engine) -> None:
    rows = messages(5)
    landing = engine.night(rows)
    with pq.ParquetFile(landing.path) as open_before:
        engine.night(edited(rows, "note", 0, "new"))
        assert open_before.read()["note"][0].as_py() == "note 0"
    assert engine.table(landing)["note"][0].as_py() == "new"


def test_files_of_other_programs_beside_the_objects_do_no_harm(engine: Engine) -> None:
    root = Path(engine.ledger.store.url)
    for folder in (root, root / ".tmp", root / "default"):
        folder.mkdir(exist_ok=True)
        (folder / ".DS_Store").write_bytes(b"\x00")
        (folder / "lost+found").mkdir()
    assert engine.night(messages(3)).outcomes == {"succeeded": 3}
    assert LocalStore(root).read(".DS_Store") == b"\x00"


def test_a_restored_store_never_lands_over_a_newer_table(engine: Engine) -> None:
    rows = messages(3)
    engine.night(rows)
    second = engine.night(edited(rows, "note", 0, "second"))
    stored(engine, "plans/000002").unlink()
    with pytest.raises(StoreError, match="holds a newer generation than 1"):
        engine.land(engine.ledger.head("queries", "d1").ref)  # type: ignore[union-attr]
    assert engine.table(second)["note"][0].as_py() == "second"


def test_no_rows_between_two_nights_with_rows(engine: Engine) -> None:
    rows = messages(4)
    engine.night(rows)
    assert engine.night(rows.slice(0, 0)).rows == 0
    third = engine.night(rows)
    assert (third.rows, third.reused, engine.bought) == (4, 4, 4)


def test_a_night_without_a_valid_row_stays_as_it_is(engine: Engine) -> None:
    rows = messages(4).set_column(1, "text", pa.nulls(4, pa.string()))
    assert engine.night(rows).ref.generation == 1
    assert engine.night(rows).ref.generation == 1
    assert engine.ledger.open_plans() == []
