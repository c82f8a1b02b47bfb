"""A user's own file in the place of the sample: one column of texts, one of ids, one of days."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.errors import ConfigError, InputError
from batch_assets.input_file import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "BATCH_ASSETS_"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFile:
    """Its path, and the names of the columns that count."""

    path: Path
    text: str
    id: str
    day: str
    """Dates, timestamps, or texts that begin with a date like 2025-11-01."""

    @classmethod
    def from_environment(cls) -> Self | None:
        """The file that BATCH_ASSETS_INPUT names; None if it is not set. Raises ConfigError for what is missing."""
        path = os.environ.get(f"{PREFIX}INPUT")
        if not path:
            return None
        names = {name: os.environ.get(f"{PREFIX}{name}", "") for name in ("TEXT", "ID", "DAY")}
        missing = [name for name, column in names.items() if not column]
        if missing:
            raise ConfigError(
                f"{' and '.join(missing)} must be given with INPUT={path}: write INPUT=path TEXT=column ID=column "
                "DAY=column, with columns of that file"
            )
        return cls(path=Path(path), text=names["TEXT"], id=names["ID"], day=names["DAY"])

    def days(self) -> list[str]:
        """The days that have rows, ascending. Raises InputError for a row without a day, and if there is no row."""
        found: set[str | None] = set()
        with self._opened() as reader:
            for batch in reader:
                found.update(_days(batch.column(self.day)).unique().to_pylist())
        wrong = sorted(str(day) for day in found if not _is_day(day))
        if wrong:
            raise InputError(
                f"{self.path}: the column {self.day!r} has {', '.join(map(repr, wrong[:5]))}, which is no day; it "
                "needs dates, timestamps, or texts that begin with a date like 2025-11-01"
            )
        if not found:
            raise InputError(f"{self.path} has no rows")
        return sorted(day for day in found if day is not None)

    def rows(self, day: str) -> pa.RecordBatchReader:
        """The rows of one day, in the order of the file, with the columns id, day and text."""
        with self._opened() as reader:
            given = reader.schema
        schema = pa.schema(
            [("id", given.field(self.id).type), ("day", pa.string()), ("text", given.field(self.text).type)]
        )

        def batches() -> Iterator[pa.RecordBatch]:
            with self._opened() as reader:
                for batch in reader:
                    days = _days(batch.column(self.day))
                    columns = [batch.column(self.id), days, batch.column(self.text)]
                    yield pa.RecordBatch.from_arrays(columns, schema=schema).filter(pc.equal(days, day))

        return pa.RecordBatchReader.from_batches(schema, batches())

    @contextmanager
    def _opened(self) -> Iterator[pa.RecordBatchReader]:
        """Raises InputError for a column that is not there."""
        columns = {"TEXT": self.text, "ID": self.id, "DAY": self.day}
        with open_rows(self.path, list(columns.values())) as reader:
            missing = [f"{name}={column}" for name, column in columns.items() if column not in reader.schema.names]
            if missing:
                with open_rows(self.path) as everything:
                    names = ", ".join(map(repr, everything.schema.names))
                raise InputError(f"{self.path} has no column for {' and '.join(missing)}; its columns are {names}")
            yield reader


def _days(column: pa.Array) -> pa.Array:
    """The first ten characters of each value: `2025-11-01` of a date, a timestamp or a text."""
    return pc.utf8_slice_codeunits(column.cast(pa.string()), 0, 10)


def _is_day(text: str | None) -> bool:
    try:
        return text is not None and date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
