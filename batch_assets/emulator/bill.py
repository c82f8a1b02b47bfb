"""What each provider would have charged for, request by request."""

import sqlite3
from typing import Any

import msgspec

from batch_assets.emulator.batches import Usage
from batch_assets.emulator.store import Store
from batch_assets.emulator.wire import Result


class BillLine(msgspec.Struct, frozen=True):
    """One executed request. `billed` is False for one that was answered with an error: providers charge nothing."""

    source: str  # the batch's id, or a synchronous call's
    line: int
    provider: str
    billed: bool
    fingerprint: bytes  # sha256 of the canonical JSON of the request's body
    custom_id: str
    usage: Usage

    @classmethod
    def of(cls, result: Result, *, source: str, line: int, provider: str) -> "BillLine":
        return cls(
            source=source,
            line=line,
            provider=provider,
            billed=result.billed,
            fingerprint=result.fingerprint,
            custom_id=result.custom_id,
            usage=result.usage,
        )


def record(db: sqlite3.Connection, lines: list[BillLine]) -> None:
    """Within the caller's transaction; a line that is executed again after a crash replaces itself."""
    db.executemany(
        "REPLACE INTO bill VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                line.source,
                line.line,
                line.provider,
                line.billed,
                line.fingerprint,
                line.custom_id,
                line.usage.input,
                line.usage.cached,
                line.usage.output,
            )
            for line in lines
        ],
    )


def statement(store: Store, *, detail: bool) -> dict[str, Any]:
    """The bill per provider.

    `requests` were billed, `distinct` of them differ in their body, `duplicates` bodies were billed more than once,
    `surplus` = requests - distinct; `errors` were executed and answered with an error, for nothing. With `detail`,
    `per_request` (fingerprint in hex -> times billed) and `per_custom_id`.
    """
    bill: dict[str, Any] = {}
    with store.lock:
        rows = store.db.execute(
            "SELECT provider, SUM(billed), SUM(1 - billed), SUM(billed * input), SUM(billed * cached),"
            " SUM(billed * output) FROM bill GROUP BY provider"
        ).fetchall()
        for provider, requests, errors, *tokens in rows:
            distinct, duplicates = store.db.execute(
                "SELECT COUNT(*), COALESCE(SUM(times > 1), 0) FROM (SELECT COUNT(*) AS times FROM bill"
                " WHERE provider = ? AND billed GROUP BY fingerprint)",
                (provider,),
            ).fetchone()
            entry: dict[str, Any] = {
                "requests": requests,
                "distinct": distinct,
                "duplicates": duplicates,
                "surplus": requests - distinct,
                "errors": errors,
                "input_tokens": tokens[0],
                "cached_tokens": tokens[1],
                "output_tokens": tokens[2],
            }
            if detail:
                entry["per_request"] = {
                    fingerprint.hex(): times for fingerprint, times in _counts(store, provider, "fingerprint")
                }
                entry["per_custom_id"] = dict(_counts(store, provider, "custom_id"))
            bill[provider] = entry
    return bill


def _counts(store: Store, provider: str, column: str) -> list[tuple[Any, int]]:
    return store.db.execute(
        f"SELECT {column}, COUNT(*) FROM bill WHERE provider = ? AND billed GROUP BY {column}",  # noqa: S608 -- ours
        (provider,),
    ).fetchall()
