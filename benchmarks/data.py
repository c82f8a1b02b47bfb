"""Rows for the benchmarks: seeded, about 1.5 kB a request, made while they are read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = "You classify messages to a bank's support desk. " + "Follow the guidelines of the desk closely. " * 6
PROMPT = "Classify the customer's message.\n\n{{ text }}"
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
_WORDS = [
    "card",
    "payment",
    "transfer",
    "refund",
    "balance",
    "account",
    "pending",
    "declined",
    "cash",
    "machine",
    "fee",
    "statement",
    "currency",
    "exchange",
    "pin",
    "verify",
    "identity",
    "top",
    "up",
    "limit",
    "contactless",
    "lost",
    "stolen",
    "arrived",
    "delivery",
    "address",
    "phone",
    "app",
    "login",
    "password",
    "please",
    "why",
    "how",
    "when",
    "my",
    "the",
    "is",
    "not",
    "working",
    "still",
    "yesterday",
    "twice",
    "charged",
    "shop",
    "abroad",
    "holiday",
    "urgent",
    "thanks",
    "“quoted”",
    "naïve",
]


class Triage(BaseModel):
    """The output type of the benchmarks."""

    intent: Literal["card", "payment", "transfer", "refund", "account", "other"]
    urgency: int = Field(ge=1, le=5)
    reason: str


def batches(rows: int, size: int = 8_192) -> Iterator[pa.RecordBatch]:
    """`rows` rows with a text of some 700 bytes, all different, in batches as large as the readers of files give."""
    rng = random.Random(7)  # noqa: S311  # not for secrets
    sentences = [" ".join(rng.choices(_WORDS, k=24)) for _ in range(2_000)]
    for start in range(0, rows, size):
        stop = min(rows, start + size)
        ids = [f"row-{number:09}" for number in range(start, stop)]
        texts = [f"{number}: " + ". ".join(rng.choices(sentences, k=5)) for number in range(start, stop)]
        yield pa.RecordBatch.from_arrays([pa.array(ids), pa.array(texts)], schema=SCHEMA)
