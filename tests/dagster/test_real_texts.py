"""Three nights of real texts through Dagster's daemons, stopped and started between submit and collect."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Nights

DATA = Path(__file__).parents[3] / "shared" / "data"
DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the daemons themselves
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real texts are not at {DATA}"),
]


def nights_of(file: str, name: str, folder: Path) -> dict[str, pd.DataFrame]:
    """Write one file of rows a day for the pipeline; the rows by day."""
    table = pq.read_table(DATA / file)
    table = table.set_column(table.schema.get_field_index("day"), "day", table["day"].cast(pa.string()))
    nights = {day: table.filter(pc.equal(table["day"], day)) for day in DAYS}
    for day, rows in nights.items():
        pq.write_table(rows, folder / f"{name}-{day}.parquet")
    return {day: rows.to_pandas() for day, rows in nights.items()}


def test_three_nights_of_messages_and_meetings(nights: Nights) -> None:
    messages = nights_of("banking77.parquet", "messages", nights.folder)
    meetings = nights_of("qmsum.parquet", "meetings", nights.folder)
    with nights.world("real_texts.py", code_server=True) as before:
        backfill = before.backfill(["messages", "messages_classified", "meetings", "meetings_summarized"], DAYS)
        before.round(times=3)
        assert before.status(backfill) == "REQUESTED"
    nights.emulator.advance(3601)
    with nights.world("real_texts.py", code_server=True) as after:
        assert after.until_ended(backfill) == "COMPLETED_SUCCESS"

    for day in DAYS:
        path = nights.folder / "store" / "tables" / "messages_classified" / f"{day}.parquet"
        classified = pq.read_table(path)
        assert classified["id"].to_pylist() == messages[day]["id"].tolist()  # each row once, in input order
        assert classified["text"].to_pylist() == messages[day]["text"].tolist()
        assert set(classified["batch_outcome"].to_pylist()) == {"succeeded"}
        assert classified.schema.field("intent").type == pa.dictionary(pa.int32(), pa.string())
        summarized = nights.table("meetings_summarized", day)
        assert summarized["id"].tolist() == meetings[day]["id"].tolist()
        assert set(summarized["batch_outcome"]) == {"succeeded"}
    assert sum(len(rows) for rows in messages.values()) > 2_900
    assert max(rows["text"].str.len().max() for rows in meetings.values()) > 50_000
    distinct = [rows["text"].nunique() for rows in [*messages.values(), *meetings.values()]]
    assert nights.bought == sum(distinct)
