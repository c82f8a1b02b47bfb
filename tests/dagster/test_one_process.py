"""One night in one process: run_night, wait_seconds, and what is said where nothing would resume a parked run."""

import time
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from dagster._daemon.types import DaemonHeartbeat
from dagster_gcp import GCSResource
from pydantic import BaseModel

from batch_assets.dagster import (
    BatchStore,
    OpenAIBatchResource,
    ParquetIOManager,
    RealtimeResource,
    Upstream,
    batch_asset,
)
from batch_assets.dagster.io_manager import store_tables
from batch_assets.dagster.rows import record_batches
from batch_assets.emulator import Emulator
from batch_assets.errors import ConfigError, InputError
from batch_assets.testing import run_night

DAYS = dg.StaticPartitionsDefinition(["mo", "tu"])
COMMON: dict[str, Any] = {"provider": "openai", "model": "gpt-5-mini", "row_key": "id", "prompt": "{{ text }}"}
ROWS = [{"id": f"r{number}", "text": f"Where is card {number}?"} for number in range(3)]


class Intent(BaseModel):
    intent: Literal["card", "refund"]


@batch_asset(output_type=Intent, partitions_def=DAYS, **COMMON)
def classified(queries: Upstream) -> Any:
    return queries


def test_run_night(batch_emulator: Emulator) -> None:
    night = run_night(classified, pd.DataFrame(ROWS), partition_key="mo", emulator=batch_emulator)
    assert list(night.frame["id"]) == ["r0", "r1", "r2"]
    assert set(night.frame["batch_outcome"]) == {"succeeded"}
    assert night.table.schema.field("intent").type == pa.dictionary(pa.int32(), pa.string())
    assert night.requests == 3
    assert night.metadata["batch_assets/rows_succeeded"] == 3


def test_run_night_starts_an_emulator_and_takes_several_assets(batch_emulator: Emulator) -> None:
    @batch_asset(output_type=str, **COMMON)
    def joined(left: Upstream, right: Upstream, context: dg.AssetExecutionContext) -> Any:
        context.log.info("joining")
        return left.frame().merge(right.frame(), on="id")

    extra = [{"id": "r1", "more": 1}]
    night = run_night(joined, {"left": ROWS, "right": extra})
    assert night.frame[["id", "more"]].to_dict("list") == {"id": ["r1"], "more": [1]}
    with pytest.raises(ConfigError, match="left"):
        run_night(joined, ROWS)
    with pytest.raises(ConfigError, match="left"):
        run_night(joined, {"left": ROWS})


def test_an_empty_night_and_a_night_without_columns(batch_emulator: Emulator) -> None:
    empty = pd.DataFrame({"id": pd.Series([], dtype="str"), "text": pd.Series([], dtype="str")})
    night = run_night(classified, empty, partition_key="mo", emulator=batch_emulator)
    assert night.table.num_rows == 0
    assert "intent" in night.table.column_names
    assert night.requests == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, ROWS[0]], "r0"),
        ([{"id": None, "text": "x"}], "null"),
        ([{"key": "1", "text": "x"}], "row_key"),
        ([{"id": "1", "words": "x"}], "text"),
        (17, "does not hold rows"),
    ],
)
def test_bad_rows_are_named_before_anything_is_sent(rows: Any, words: str, batch_emulator: Emulator) -> None:
    with pytest.raises(dg.Failure, match=words):
        run_night(classified, rows, partition_key="mo", emulator=batch_emulator)
    assert sum(provider["requests"] for provider in batch_emulator.bill().values()) == 0


def _materialize(asset: dg.AssetsDefinition, folder: Path, **options: Any) -> dg.ExecuteInProcessResult:
    @dg.asset(name="queries", partitions_def=DAYS, io_manager_key="tables")
    def queries() -> pd.DataFrame:
        return pd.DataFrame(ROWS)

    store = BatchStore(root=str(folder), **options.pop("store", {}))
    resources = {
        "openai": OpenAIBatchResource(),
        "batch_store": store,
        "tables": ParquetIOManager(base=store.table_store().root),
        **options.pop("resources", {}),
    }
    return dg.materialize([queries, asset], partition_key="mo", resources=resources, **options)


def test_where_nothing_would_resume_it_nothing_is_sent(batch_emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match=r"lives in memory.*Nothing was sent.*wait_seconds"):
        _materialize(classified, tmp_path / "a")
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        for beat in (None, time.time() - 601):  # it never ran; it ran, and stopped ten minutes ago
            if beat is not None:
                instance.add_daemon_heartbeat(DaemonHeartbeat(beat, "SENSOR", None, None))
            with pytest.raises(dg.Failure, match="daemon is not running"):
                _materialize(classified, tmp_path / "b", instance=instance)
    assert not list(batch_emulator.bill().values()) or not batch_emulator.bill()["openai"]["requests"]


def test_a_plain_materialize_waits_and_a_second_one_buys_nothing(batch_emulator: Emulator, tmp_path: Path) -> None:
    for _ in range(2):
        result = _materialize(classified, tmp_path, store={"wait_seconds": 30})
        assert result.success
    assert batch_emulator.bill()["openai"]["requests"] == 3


def test_a_night_without_a_batch_api_says_that_it_cost_the_standard_price(
    batch_emulator: Emulator, tmp_path: Path
) -> None:
    url, root = batch_emulator.openai_base_url, str(tmp_path / "realtime")
    host = RealtimeResource(dialect="openai", api_key="k", base_url=url, root=root)
    for folder, resources, price in (("a", {"openai": host}, "standard"), ("b", {}, "batch")):
        result = _materialize(classified, tmp_path / folder, store={"wait_seconds": 30}, resources=resources)
        (event,) = result.asset_materializations_for_node("classified")
        assert event.metadata["batch_assets/price"].value == price


def test_a_wait_that_is_too_short_can_be_gone_on_with(batch_emulator: Emulator, tmp_path: Path) -> None:
    batch_emulator.set_latency(3600)
    with pytest.raises(dg.Failure, match="nothing is bought twice"):
        _materialize(classified, tmp_path, store={"wait_seconds": 0.3})
    batch_emulator.advance(3601)
    assert _materialize(classified, tmp_path, store={"wait_seconds": 30}).success
    assert batch_emulator.bill()["openai"]["requests"] == 3


def test_no_key(batch_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(dg.Failure, match=r"api_key.*OPENAI_API_KEY"):
        _materialize(classified, tmp_path, store={"wait_seconds": 30})


def test_a_wrong_key_is_said_by_a_run_that_waits(
    batch_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-invalid")
    with pytest.raises(dg.Failure, match=r"0 of 3 results .* listing its batches was answered 401"):
        _materialize(classified, tmp_path, store={"wait_seconds": 0.3})


def test_the_refused_plan_says_the_figures(batch_emulator: Emulator) -> None:
    dear = batch_asset(name="dear", output_type=str, max_cost_usd="0.0000001", max_output_tokens=100, **COMMON)
    with pytest.raises(dg.Failure, match="max_cost_usd"):
        run_night(dear(lambda queries: queries), ROWS, emulator=batch_emulator)
    assert not batch_emulator.bill().get("openai", {}).get("requests")


@pytest.mark.parametrize(
    "kind", [pd.DataFrame, pa.Table, pads.Dataset, pl.DataFrame, pl.LazyFrame, dict[str, pa.Table]]
)
@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_tables_load_as_the_annotation_asks(kind: Any, tmp_path: Path) -> None:
    @dg.asset(partitions_def=DAYS)
    def source(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.DataFrame({"id": [context.partition_key], "n": [1.5]})

    seen: list[Any] = []

    def consume(source: Any) -> None:
        seen.append(source)

    consume.__annotations__["source"] = kind
    everything = dg.asset(name="everything")(consume)
    one = dg.asset(name="one", partitions_def=DAYS)(consume)
    in_one_run = dg.BackfillPolicy.single_run()
    ranged = dg.asset(name="ranged", partitions_def=DAYS, backfill_policy=in_one_run)(consume)
    both = {"dagster/asset_partition_range_start": "mo", "dagster/asset_partition_range_end": "tu"}
    resources = {"io_manager": ParquetIOManager(base=str(tmp_path))}
    for day in ("mo", "tu"):
        assert dg.materialize([source], partition_key=day, resources=resources).success
    assert dg.materialize([source, one], selection=[one], partition_key="tu", resources=resources).success
    assert dg.materialize([source, everything], selection=[everything], resources=resources).success
    assert dg.materialize([source, ranged], selection=[ranged], tags=both, resources=resources).success
    if kind == dict[str, pa.Table]:
        assert [list(value) for value in seen] == [["tu"], ["mo", "tu"], ["mo", "tu"]]
        return
    assert all(isinstance(value, kind) for value in seen)
    counts = [sum(batch.num_rows for batch in record_batches(_eager(value))) for value in seen]
    assert counts == [1, 2, 2]


def _eager(value: Any) -> Any:
    return value.collect() if isinstance(value, pl.LazyFrame) else value


def test_an_own_io_manager_loads_the_table(batch_emulator: Emulator, tmp_path: Path) -> None:
    class Counting(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            raise AssertionError("the batch asset writes its table itself")

        def load_input(self, context: dg.InputContext) -> int:
            return len(pd.read_parquet(tmp_path / "tables" / "counted" / f"{context.partition_key}.parquet"))

    counted = batch_asset(name="counted", output_type=str, partitions_def=DAYS, io_manager_key="counting", **COMMON)

    @dg.asset(partitions_def=DAYS)
    def below(counted: int) -> None:
        assert counted == 3

    @dg.asset(partitions_def=DAYS)
    def queries() -> pd.DataFrame:
        return pd.DataFrame(ROWS)

    resources = {
        "openai": OpenAIBatchResource(),
        "batch_store": BatchStore(root=str(tmp_path), wait_seconds=30),
        "io_manager": ParquetIOManager(base=str(tmp_path / "tables")),
        "counting": Counting(),
    }
    assets = [queries, counted(lambda queries: queries), below]
    assert dg.materialize(assets, partition_key="mo", resources=resources).success


def test_a_kind_that_is_no_table_is_named(tmp_path: Path) -> None:
    @dg.asset
    def source() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    @dg.asset
    def below(source: list) -> None:  # type: ignore[type-arg]
        ...

    resources = {"io_manager": ParquetIOManager(base=str(tmp_path))}
    with pytest.raises(ConfigError, match=r"cannot be loaded as .*List.*pandas.DataFrame, .*polars.DataFrame"):
        dg.materialize([source, below], resources=resources)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    @dg.asset
    def source() -> None: ...

    @dg.asset
    def below(source: pd.DataFrame) -> None: ...

    resources = {"io_manager": ParquetIOManager(base=str(tmp_path))}
    with pytest.raises(InputError, match="no table of source"):
        dg.materialize([source, below], selection=[below], resources=resources)


@pytest.mark.parametrize(
    "value",
    [
        pa.table({"id": [1, 2]}),
        pa.table({"id": [1, 2]}).to_batches()[0],
        pa.table({"id": [1, 2]}).to_reader(),
        pads.dataset(pa.table({"id": [1, 2]})),
        pd.DataFrame({"id": [1, 2]}),
        pl.DataFrame({"id": [1, 2]}),
        [{"id": 1}, {"id": 2}],
        ({"id": number} for number in (1, 2)),
        iter(pa.table({"id": [1, 2]}).to_batches(max_chunksize=1)),
        [pd.DataFrame({"id": [1]}), pd.DataFrame({"id": [2]})],
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_in_every_form(value: Any) -> None:
    assert pa.Table.from_batches(list(record_batches(value))).to_pydict() == {"id": [1, 2]}


def test_rows_that_do_not_fit_one_table() -> None:
    with pytest.raises(InputError, match="do not fit"):
        list(record_batches([{"id": 1}, {"id": "two"}]))


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:InitResourceContext.dagster_run:DeprecationWarning",  # Dagster's own, for every nested resource
)
def test_everything_in_a_bucket(batch_emulator: Emulator) -> None:
    resources = {
        "openai": OpenAIBatchResource(),
        "batch_store": BatchStore(root="gs://nights/batch", gcs=GCSResource(project="p"), wait_seconds=30),
        "tables": store_tables,
    }
    seen: list[pd.DataFrame] = []

    @dg.asset(name="queries", partitions_def=DAYS, io_manager_key="tables")
    def queries() -> pd.DataFrame:
        return pd.DataFrame(ROWS)

    @dg.asset(partitions_def=DAYS)
    def below(classified: pd.DataFrame) -> None:
        seen.append(classified)

    assert dg.materialize([queries, classified, below], partition_key="mo", resources=resources).success
    assert list(seen[0]["id"]) == ["r0", "r1", "r2"]
    with pytest.raises(ConfigError, match="s3://"):
        BatchStore(root="s3://bucket").object_store()
