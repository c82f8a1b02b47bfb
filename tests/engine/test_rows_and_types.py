"""Rows that cannot be sent, nights without rows, and every output type from the response to Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deployment import KEY, Engine
from engine_nights import DATA, Intent, edited, intent_spec, messages, schema_of, spec_of
from pydantic import BaseModel, Field

from batch_assets.engine import AssetSpec, plan_partition
from batch_assets.errors import BatchAssetsError, ConfigError, InputError, PromptError
from batch_assets.prompts import Prompt
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.records import Request
from batch_assets.tables import OUTPUT

# -- rows -----------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_rendered_or_are_too_long_are_errored_rows(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits={"max_request_bytes": 2_000})
    rows = edited(edited(edited(messages(6), "text", 1, None), "text", 3, "x" * 3_000), "text", 4, "  ")
    landing = engine.night(rows, intent_spec("{{ text }}"))
    out = engine.table(landing)
    assert out["id"].to_pylist() == rows["id"].to_pylist()
    assert landing.outcomes == {"succeeded": 3, "errored": 3}
    assert out["batch_outcome"].to_pylist() == ["succeeded", "errored", "succeeded", "errored", "errored", "succeeded"]
    errors = out["batch_error"].to_pylist()
    assert "'text' is null" in errors[1]
    assert "the prompt has 3,002 bytes, and the provider takes " in errors[3]
    assert "empty" in errors[4]
    assert out["batch_attempts"].to_pylist() == [1, None, 1, None, None, 1]
    assert out["batch_custom_id"].null_count == 3
    assert out["batch_cost_usd"].to_pylist()[1] is None
    assert landing.errors == {"unrenderable": 3}
    assert (landing.requests, landing.folded, engine.bought) == (3, 0, 3)
    assert engine.night(rows, intent_spec("{{ text }}")).ref.generation == 1


def test_a_row_at_exactly_the_limit_is_sent(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    envelope = engine.provider.envelope(intent_spec().request).overhead_bytes
    limit = envelope + 500
    engine = make_engine(limits={"max_request_bytes": limit}, name="limited")
    rows = pa.table({"id": ["fits", "not"], "text": ["x" * 498, "x" * 499]})
    out = engine.table(engine.night(rows, intent_spec("{{ text }}")))
    assert out["batch_outcome"].to_pylist() == ["succeeded", "errored"]
    assert engine.ledger.head("queries", "d1").shards[0].bytes == limit


def test_when_no_row_can_be_sent_the_table_says_so_and_no_batch_is_made(engine: Engine) -> None:
    rows = messages(3).set_column(1, "text", pa.nulls(3, pa.string()))
    landing = engine.night(rows)
    assert landing.outcomes == {"errored": 3}
    assert (landing.cost_usd, landing.batch_ids, engine.batches()) == (0, (), [])
    assert engine.table(landing)["batch_cached"].to_pylist() == [False] * 3


def test_an_empty_partition_makes_an_empty_table_with_the_columns_of_a_full_one(engine: Engine) -> None:
    empty = engine.night(messages(0))
    assert (empty.rows, empty.outcomes, empty.requests, empty.cost_usd) == (0, {}, 0, 0)
    assert engine.batches() == []
    full = engine.night(messages(2), partition="full")
    assert engine.table(empty).schema.equals(engine.table(full).schema)
    assert engine.ledger.open_plans() == []
    assert engine.night(messages(0)).ref.generation == 1


def test_a_partition_without_even_a_batch_makes_a_table_of_our_columns(engine: Engine) -> None:
    plan = plan_partition(engine.ledger, engine.provider, intent_spec(), "d1", [])
    assert engine.table(engine.land(plan.ref)).column_names == ["intent", "urgency", "reason", *OUTPUT.names]


def test_a_reader_of_record_batches_is_a_source(engine: Engine) -> None:
    rows = messages(10)
    plan = plan_partition(engine.ledger, engine.provider, intent_spec(), "d1", rows.to_reader(max_chunksize=3))
    engine.submit()
    engine.settle(plan)
    assert engine.land(plan.ref).outcomes == {"succeeded": 10}


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (pa.table({"key": ["a"], "text": ["x"]}), InputError, r"row key 'id' is not a column .* \['key', 'text'\]"),
        (pa.table({"id": ["a", "a"], "text": ["x", "y"]}), InputError, "'a' in rows 0 and 1"),
        (pa.table({"id": ["a", None], "text": ["x", "y"]}), InputError, r"1 rows have no key \(row 1\)"),
        (pa.table({"id": ["a"], "txt": ["x"]}), PromptError, "unknown column 'text' .did you mean 'txt'"),
        (pa.table({"id": ["a"], "text": ["x"], "intent": ["y"]}), ConfigError, "'intent'"),
        (pa.table({"id": ["a"], "text": ["x"], "batch_id": ["y"]}), ConfigError, "'batch_id'"),
        (pa.table([["a"], ["x"], ["y"]], names=["id", "text", "text"]), InputError, "'text'"),
    ],
)
def test_bad_columns_and_keys_are_named_before_anything_is_stored(
    engine: Engine, rows: pa.Table, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        engine.plan(rows)
    assert list(engine.ledger.store.list("default")) == []
    assert engine.batches() == []


def test_a_source_whose_columns_change_on_the_way_is_refused(engine: Engine) -> None:
    batches = [*messages(2).to_batches(), pa.RecordBatch.from_pydict({"id": ["x"], "text": ["y"]})]
    with pytest.raises(InputError, match="the rows change their columns"):
        plan_partition(engine.ledger, engine.provider, intent_spec(), "d1", batches)
    assert list(engine.ledger.store.list("default")) == []


def test_an_error_of_the_source_goes_through_and_leaves_nothing(engine: Engine) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield from messages(500).to_batches()
        raise RuntimeError("the warehouse is down")

    with pytest.raises(RuntimeError, match="the warehouse is down"):
        plan_partition(engine.ledger, engine.provider, intent_spec(), "d1", rows())
    assert list(engine.ledger.store.list("default")) == []


def test_source_columns_of_every_type_come_through(engine: Engine) -> None:
    source = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int16()),
            "text": pa.array(["a card", "my card", "your card"], pa.large_string()),
            "flag": [True, None, False],
            "amount": [Decimal("1.10"), None, Decimal("-2.00")],
            "moment": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("ms", tz="Europe/Paris")),
            "tags": [["x", None], [], None],
            "place": [{"city": "a", "at": [1.5]}, None, {"city": None, "at": None}],
            "label": pa.array(["p", "q", "p"]).dictionary_encode(),
            "nothing": pa.nulls(3),
            "raw": [b"\xff", None, b""],
        }
    )
    source = source.replace_schema_metadata({"made by": "a test"})
    out = engine.table(engine.night(source))
    assert out.select(source.column_names).to_pylist() == source.to_pylist()
    assert [out.schema.field(name).type for name in source.column_names] == list(source.schema.types)
    assert engine.night(source).ref.generation == 1


def test_dictionaries_that_differ_from_batch_to_batch(engine: Engine) -> None:
    batches = [
        pa.RecordBatch.from_pydict({"id": [f"{part}-{row}" for row in range(2)], "text": [f"card {part}", "lost"],
                                    "label": pa.array([part, "same"]).dictionary_encode()})
        for part in ("a", "b", "c")
    ]  # fmt: skip
    plan = plan_partition(engine.ledger, engine.provider, intent_spec("{{ text }} {{ label }}"), "d1", batches)
    engine.submit()
    engine.settle(plan)
    out = engine.table(engine.land(plan.ref))
    assert out["label"].to_pylist() == ["a", "same", "b", "same", "c", "same"]


def test_an_asset_without_partitions(engine: Engine) -> None:
    landing = engine.night(messages(3), partition=None)
    assert landing.path.endswith("queries.parquet")
    assert landing.outcomes == {"succeeded": 3}


# -- output types -----------------------------------------------------------------------------------------------------


class Mood(Enum):
    calm = "calm"
    angry = "angry"


class Task(BaseModel):
    title: str
    due: date | None
    mood: Literal["calm", "angry"]


class Everything(BaseModel):
    label: Literal["a", "b"]
    mood: Mood
    maybe: Literal["x", "y"] | None
    count: int
    score: float
    flag: bool
    remark: str | None
    day: date
    moment: datetime
    price: Annotated[Decimal, Field(max_digits=10, decimal_places=2)]
    bounded: Annotated[Decimal, Field(ge=0, le=100, max_digits=10, decimal_places=2)]
    tasks: list[Task]
    labels: list[Literal["red", "green"]]
    task: Task
    other: Task | None


def test_every_output_type_reaches_parquet(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(limits={"max_requests": 4})
    spec = spec_of(Everything, max_output_tokens=2_000)
    landing = engine.night(messages(10), spec)
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": 10}, out["batch_error"].to_pylist()
    fields = schema_of(Everything).fields
    assert [out.schema.field(name).type for name in fields.names] == list(fields.types)
    assert out.schema.field("label").type == pa.dictionary(pa.int32(), pa.string())
    assert out.schema.field("moment").type == pa.timestamp("us", tz="UTC")
    assert out.schema.field("price").type == pa.decimal128(10, 2)
    row = out.slice(3, 1).to_pylist()[0]
    assert isinstance(row["price"], Decimal)
    assert row["moment"].tzinfo is not None
    assert isinstance(row["task"]["title"], str)
    assert set(row["task"]) == {"title", "due", "mood"}
    # a second generation copies the results through the store once more
    again = engine.table(engine.night(edited(messages(10), "text", 0, "new"), spec))
    assert again.slice(1).select(fields.names).to_pylist() == out.slice(1).select(fields.names).to_pylist()
    assert engine.bought == 11


def test_plain_text(engine: Engine) -> None:
    landing = engine.night(messages(4), spec_of(str))
    out = engine.table(landing)
    assert out.schema.field("response").type == pa.string()
    assert all("card" in text for text in out["response"].to_pylist())
    assert landing.outcomes == {"succeeded": 4}


def test_an_invalid_row_among_nested_ones(engine: Engine) -> None:
    engine.emulator.arm("schema_violation", contains="Message 1:", times=99)
    landing = engine.night(messages(3), spec_of(Everything, max_output_tokens=2_000, max_attempts=1))
    out = engine.table(landing)
    assert out["batch_outcome"].to_pylist() == ["succeeded", "invalid", "succeeded"]
    assert all(out[name][1].as_py() is None for name in schema_of(Everything).fields.names)


class AsFloat(BaseModel):
    amount: float = Field(ge=0, le=10)


class AsDecimal(BaseModel):
    amount: Annotated[Decimal, Field(ge=0, le=10, max_digits=4, decimal_places=2)]


def test_a_type_that_only_the_column_shows_is_not_taken_from_the_cache(engine: Engine) -> None:
    """Both have one JSON schema and so one fingerprint; the stored numbers do not fit the other column."""
    assert schema_of(AsFloat).json_schema == schema_of(AsDecimal).json_schema
    assert engine.table(engine.night(messages(3), spec_of(AsFloat))).schema.field("amount").type == pa.float64()
    landing = engine.night(messages(3), spec_of(AsDecimal))
    assert landing.ref.generation == 2
    assert engine.table(landing).schema.field("amount").type == pa.decimal128(4, 2)


class Renamed(Intent):
    """The same fields under another name."""


def test_the_name_of_a_type_buys_nothing(engine: Engine) -> None:
    engine.night(messages(3))
    assert "Renamed" in str(schema_of(Renamed).name)
    same = schema_of(Renamed).identity == schema_of(Intent).identity
    engine.night(messages(3), spec_of(Renamed))
    assert engine.bought == (3 if same else 6)


def test_a_type_that_changed_since_the_plan_lands_as_planned(engine: Engine) -> None:
    plan = engine.plan(messages(3))
    engine.submit()
    engine.settle(plan)
    assert engine.table(engine.reopened().land(plan.ref)).column_names[3:6] == ["intent", "urgency", "reason"]


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_endpoints_system_text_and_parameters(engine: Engine, endpoint: Literal["chat", "responses"]) -> None:
    schema = schema_of(Intent)
    request = Request(
        model="gpt-5-mini",
        endpoint=endpoint,
        system="You sort messages of a bank's customers. 🙂",
        json_schema=schema.json_schema,
        schema_name=schema.name,
        max_output_tokens=300,
        params={"seed": 7, "metadata": {"team": "ä"}} if endpoint == "chat" else {"metadata": {"team": "ä"}},
    )
    spec = AssetSpec(
        asset="queries", provider="openai", request=request, prompt=Prompt("{{ text }}"), schema=schema, row_key="id"
    )
    texts = [
        'quotes " and \\ back',
        "new\nline\ttab",
        "emoji 🙂 é 漢字",
        "{{ not a template }} %s %%",
        "\u2028 separator",
    ]
    rows = pa.table({"id": [str(number) for number in range(5)], "text": texts})
    landing = engine.night(rows, spec)
    assert landing.outcomes == {"succeeded": 5}
    assert engine.table(landing)["text"].to_pylist() == texts


# -- long texts -------------------------------------------------------------------------------------------------------


class Summary(BaseModel):
    summary: str
    action_items: list[str]


@pytest.mark.skipif(not (DATA / "qmsum.parquet").is_file(), reason=f"the real texts are not at {DATA}")
def test_meetings_of_143_000_characters(engine: Engine) -> None:
    rows = pq.read_table(DATA / "qmsum.parquet").drop_columns(["summary"])
    assert max(map(len, rows["text"].to_pylist())) > 143_000
    spec = spec_of(Summary, "Summarize.\n\n{{ text }}\n\n{{ query }}", asset="meetings", max_output_tokens=600)
    landing = engine.night(rows, spec)
    out = engine.table(landing)
    assert landing.outcomes == {"succeeded": rows.num_rows}
    assert out.select(rows.column_names).equals(rows)
    assert engine.bought == rows.num_rows
    assert landing.estimate.input_tokens == pytest.approx(landing.input_tokens, rel=0.4)


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_the_key_is_nowhere(engine: Engine) -> None:
    engine.emulator.arm("refused", operation="batches.create", status=401, message="Incorrect API key provided.")
    engine.emulator.arm("refused", operation="files.create", status=500)
    said = [repr(engine.provider), repr(engine.ledger), repr(engine.tables), repr(engine.provider.__dict__.keys())]
    plan = engine.plan(messages(3))
    for _ in range(3):
        try:
            engine.submit()
        except BatchAssetsError as error:
            said += [str(error), repr(error), str(error.__dict__)]
    engine.age(301)
    engine.settle(plan)
    landing = engine.land(plan.ref)
    said += [repr(landing), *engine.log, engine.summary(), repr(engine.ledger.head("queries", "d1"))]
    assert any("500" in one for one in said)
    assert KEY not in "\n".join(said)
    stored = [path for path in engine.folder.rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert all(KEY.encode() not in path.read_bytes() and KEY not in path.name for path in stored)


def test_a_key_that_is_missing_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    provider = OpenAIProvider(base_url=engine.emulator.openai_base_url)
    with pytest.raises(ConfigError, match="has no API key: set `api_key`"):
        plan_partition(engine.ledger, provider, intent_spec(), "d1", messages(1).to_batches())
