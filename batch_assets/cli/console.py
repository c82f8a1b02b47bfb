"""How the command line speaks: results on stdout, all else on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

if TYPE_CHECKING:
    from decimal import Decimal

PROGRAM = "batch-assets"

_JSON = msgspec.json.Encoder(decimal_format="number")


def results() -> Console:
    """For tables on stdout."""
    return Console(highlight=False, markup=False, emoji=False)


def notes() -> Console:
    """For progress and remarks on stderr."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def write_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(_JSON.encode(value), indent=2).decode() + "\n")


def write_error(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{PROGRAM}: {' '.join(message.split())}\n")


def usd(amount: Decimal | None) -> str:
    """Dollars as people read them: cents, or four digits of a smaller amount."""
    if amount is None:
        return "unknown"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float | None) -> str:
    """`8 s`, `3 min`, `5.2 h`, `3.1 d`; a dash for what is not known."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"
