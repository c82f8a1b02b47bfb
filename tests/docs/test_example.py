"""definitions.py: loads with and without a key, and its rows are the same everywhere."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_assets import samples
from batch_assets.dagster import BatchProviderResource, OpenAIBatchResource
from batch_assets.errors import ConfigError, InputError
from batch_assets.testing import run_night

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # backfill_policy, for years now


def load(monkeypatch: pytest.MonkeyPatch, **environment: str | None) -> tuple[dg.Definitions, BatchProviderResource]:
    keys = dict.fromkeys([*samples.KEYS.values(), "OPENAI_BASE_URL", "BATCH_ASSETS_PROVIDER"])
    for name, value in {**keys, **environment}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(ROOT))
    sys.modules.pop("definitions", None)
    definitions = importlib.import_module("definitions")
    return definitions.defs, definitions.accounts[definitions.provider]


def test_without_a_key_it_goes_to_the_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    _, account = load(monkeypatch, BATCH_ASSETS_EMULATOR_URL="http://127.0.0.1:1")
    assert isinstance(account, OpenAIBatchResource)
    assert account.base_url == "http://127.0.0.1:1/v1"


@pytest.mark.parametrize("provider", samples.KEYS)
def test_one_word_moves_it_to_another_provider(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    defs, emulated = load(monkeypatch, BATCH_ASSETS_PROVIDER=provider, BATCH_ASSETS_EMULATOR_URL="http://127.0.0.1:1")
    assert "127.0.0.1:1" in emulated.provider(provider).account
    assert provider in (defs.resources or {})
    _, own = load(
        monkeypatch,
        BATCH_ASSETS_PROVIDER=provider,
        GOOGLE_CLOUD_PROJECT="p",
        GOOGLE_CLOUD_LOCATION="eu",
        **{samples.KEYS[provider]: "gs://x/y"},
    )
    address = {"mistral": "server_url"}.get(provider, "base_url")
    assert getattr(own, address) is None


def test_a_word_that_is_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="PROVIDER=acme is none that the example knows; it knows openai, anthropic"):
        load(monkeypatch, BATCH_ASSETS_PROVIDER="acme")


def test_the_graph_reads_from_source_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    defs, _ = load(monkeypatch)
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): {up.to_user_string() for up in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "support_queries": set(),
        "support_queries_classified": {"support_queries"},
        "intent_report": {"support_queries_classified"},
        "meetings": set(),
        "meetings_summarized": {"meetings"},
    }
    assert {sensor.name for sensor in defs.sensors or ()} == {"batch_poll", "batch_resume"}
    assert defs.schedules


@pytest.mark.parametrize("asset", ["support_queries_classified", "meetings_summarized"])
def test_every_row_of_a_night_gets_an_answer(monkeypatch: pytest.MonkeyPatch, asset: str) -> None:
    load(monkeypatch)
    rows = (samples.meetings if asset.startswith("meetings") else samples.support_queries)("2025-11-02").read_all()
    night = run_night(getattr(sys.modules["definitions"], asset), rows, partition_key="2025-11-02")
    assert night.table["id"].to_pylist() == rows["id"].to_pylist()
    assert set(night.table["batch_outcome"].to_pylist()) == {"succeeded"}


def test_the_sample_is_the_same_every_time_and_varied() -> None:
    night = samples.support_queries("2025-11-01").read_all()
    assert night.equals(samples.support_queries("2025-11-01").read_all())
    assert not night.equals(samples.support_queries("2025-11-02").read_all())
    texts = [
        text for day in (1, 2, 3) for text in samples.support_queries(f"2025-11-0{day}").read_all()["text"].to_pylist()
    ]
    assert "" in texts
    assert max(map(len, texts)) > 10_000
    assert any("\n" in text for text in texts)
    assert any('"' in text for text in texts)
    assert len(set(night["language"].to_pylist())) >= 6
    assert max(map(len, samples.meetings("2025-11-01").read_all()["text"].to_pylist())) > 10_000


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mine.parquet"
    table = {"key": [1, 2, 3], "body": ["a", "b", None], "at": ["2025-03-02T10:00", "2025-03-01", "2025-03-02"]}
    pq.write_table(pa.table(table), file)
    for name, value in {"INPUT": str(file), "TEXT": "body", "ID": "key", "DAY": "at"}.items():
        monkeypatch.setenv(f"BATCH_ASSETS_{name}", value)
    return file


def test_an_own_file_stands_in_the_place_of_the_sample(own: Path) -> None:
    assert samples.first_day() == "2025-03-01"
    rows = samples.support_queries("2025-03-02").read_all()
    assert rows.to_pydict() == {"id": [1, 3], "day": ["2025-03-02"] * 2, "text": ["a", None]}
    assert samples.support_queries("2025-03-03").read_all().num_rows == 0


def test_what_is_wrong_with_an_own_file_is_named(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DAY", "body")
    with pytest.raises(InputError, match="'body' has 'None', 'a', 'b', which is no day"):
        samples.first_day()
    monkeypatch.setenv("BATCH_ASSETS_DAY", "when")
    with pytest.raises(InputError, match="no column for DAY=when; its columns are 'key', 'body', 'at'"):
        samples.first_day()
    monkeypatch.delenv("BATCH_ASSETS_DAY")
    with pytest.raises(ConfigError, match="DAY must be given"):
        samples.first_day()
