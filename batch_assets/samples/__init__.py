"""Rows for the example: made up from a seed, the same on every machine, or those of a user's own file.

`python -m batch_assets.samples FOLDER` writes some nights as Parquet files. The environment variables
BATCH_ASSETS_INPUT, BATCH_ASSETS_TEXT, BATCH_ASSETS_ID and BATCH_ASSETS_DAY put a file (Parquet, CSV, JSON
lines) and its columns in the place of `support_queries`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa

from batch_assets.samples import texts
from batch_assets.samples.own_file import OwnFile
from batch_assets.samples.provider import KEYS, chosen_provider, emulator_url

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FIRST_DAY",
    "KEYS",
    "OwnFile",
    "chosen_provider",
    "emulator_url",
    "first_day",
    "meetings",
    "support_queries",
]

FIRST_DAY = "2025-11-01"
"""The first day that there is sample data for; every later day has its own."""
SEED = 2

SUPPORT_QUERIES = pa.schema(
    [
        ("id", pa.string()),
        ("day", pa.date32()),
        ("received_at", pa.timestamp("us", "UTC")),
        ("channel", pa.string()),
        ("language", pa.string()),
        ("text", pa.string()),
    ]
)
MEETINGS = pa.schema(
    [
        ("id", pa.string()),
        ("day", pa.date32()),
        ("title", pa.string()),
        ("attendees", pa.list_(pa.string())),
        ("text", pa.string()),
    ]
)

_CHANNELS = ["chat", "chat", "app", "email", "phone"]
_LANGUAGES = ["en"] * 11 + ["de", "de", "fr", "fr", "es", "es", "pt", "tr", "ja", "ar"]


def first_day() -> str:
    """The first day of the rows: the sample's, or the own file's."""
    own = OwnFile.from_environment()
    return FIRST_DAY if own is None else own.days()[0]


def support_queries(day: str) -> pa.RecordBatchReader:
    """Some hundred customers' messages of one day (`2025-11-01`); of an own file the columns id, day and text."""
    own = OwnFile.from_environment()
    return _queries(day).to_reader() if own is None else own.rows(day)


def meetings(day: str) -> pa.RecordBatchReader:
    """The transcripts of a day's meetings, 10,000 to 50,000 characters each."""
    chance = _chance("meetings", day)
    rows = [_meeting(chance, day, number) for number in range(chance.randint(3, 5))]
    return pa.Table.from_pylist(rows, schema=MEETINGS).to_reader()


def _chance(kind: str, day: str) -> Random:
    date.fromisoformat(day)
    return Random(f"{SEED}/{kind}/{day}")  # noqa: S311  # made-up rows, not secrets


def _queries(day: str) -> pa.Table:
    chance = _chance("support_queries", day)
    start = datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)
    count = chance.randint(180, 260)
    seconds = sorted(chance.randrange(86_400) for _ in range(count))
    rows = []
    for number, second in enumerate(seconds):
        language = chance.choice(_LANGUAGES)
        rows.append(
            {
                "id": f"{day}/{number:04}",
                "day": start.date(),
                "received_at": start + timedelta(seconds=second),
                "channel": chance.choice(_CHANNELS),
                "language": language,
                "text": _message(chance, language),
            }
        )
    return pa.Table.from_pylist(rows, schema=SUPPORT_QUERIES)


def _message(chance: Random, language: str) -> str:
    kind = chance.random()
    if kind < 0.03:
        return _filled(chance, chance.choice(texts.WEIRD))
    if kind < 0.04:  # somebody pastes the whole conversation
        lines = [f"[{number:02}:15] {_plain(chance, language)}" for number in range(chance.randint(150, 400))]
        return "Please read ALL of this:\n" + "\n".join(lines)
    parts = [_plain(chance, language)]
    if chance.random() < 0.15:
        parts.append(_plain(chance, language))
    text = " ".join(parts)
    if chance.random() < 0.25:
        text = _filled(chance, chance.choice(texts.OPENERS)) + text
    if chance.random() < 0.3:
        text += _filled(chance, chance.choice(texts.CLOSERS))
    return text.upper() if chance.random() < 0.03 else text


def _plain(chance: Random, language: str) -> str:
    return _filled(chance, chance.choice(texts.MESSAGES[language]))


def _filled(chance: Random, phrase: str, values: dict[str, Sequence[str]] | None = None) -> str:
    for name, choices in {**texts.VALUES, **(values or {})}.items():
        while f"{{{name}}}" in phrase:
            phrase = phrase.replace(f"{{{name}}}", chance.choice(choices), 1)
    return phrase


def _meeting(chance: Random, day: str, number: int) -> dict[str, object]:
    topics = chance.sample(texts.TOPICS, 3)
    attendees = chance.sample(texts.VALUES["name"], chance.randint(3, 6))
    values: dict[str, Sequence[str]] = {"topic": topics, "name": attendees}
    lines = []
    for _ in range(chance.randint(120, 600)):
        kind = chance.random()
        if kind < 0.02:
            phrase = chance.choice(texts.TASKS)
        elif kind < 0.03:
            phrase = chance.choice(texts.DECISIONS)
        else:
            phrase = chance.choice(texts.LEADS) + chance.choice(texts.REMARKS)
        lines.append(f"{chance.choice(attendees)}: {_filled(chance, phrase, values)}")
    lines.append(f"{attendees[0]}: {_filled(chance, chance.choice(texts.TASKS), values)}")
    return {
        "id": f"{day}/m{number}",
        "day": date.fromisoformat(day),
        "title": f"On {topics[0]}, {topics[1]} and {topics[2]}",
        "attendees": attendees,
        "text": "\n".join(lines),
    }
