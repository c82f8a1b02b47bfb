"""`python -m batch_assets.samples FOLDER [--nights N]`: the sample as Parquet files."""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from batch_assets.samples import FIRST_DAY, meetings, support_queries


def main() -> None:
    """Write `support_queries/DAY.parquet` and `meetings/DAY.parquet` for some nights."""
    parser = argparse.ArgumentParser(prog="python -m batch_assets.samples", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nights", type=int, default=3, metavar="N", help="default: 3")
    given = parser.parse_args()
    for rows in (support_queries, meetings):
        folder = given.folder / rows.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(given.nights):
            day = (date.fromisoformat(FIRST_DAY) + timedelta(days=number)).isoformat()
            pq.write_table(rows(day).read_all(), folder / f"{day}.parquet")


if __name__ == "__main__":
    main()
