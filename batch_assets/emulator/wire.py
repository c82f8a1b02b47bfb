"""What a provider's wire has to say; the next provider is one more implementation of `Wire`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
import orjson
from starlette.routing import BaseRoute

from batch_assets.emulator.batches import Batch, Phase, Problem, Usage
from batch_assets.emulator.faults import Fault
from batch_assets.emulator.lines import LineFile

if TYPE_CHECKING:
    from batch_assets.emulator.emulation import Emulation

Strike = Callable[[bytes, bytes], Fault | None]
"""From a raw line and the request's fingerprint to the fault that strikes that request, if any."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What validation of a batch's input found; a problem means that the batch fails and nothing is executed."""

    problems: list[Problem] = field(default_factory=list)
    model: str | None = None


class Result(msgspec.Struct, frozen=True):
    """One executed request: its result line (with newline), and where the line goes."""

    line: bytes
    ok: bool  # False: counted as an error, and into the error file where the wire has one
    billed: bool
    fingerprint: bytes
    custom_id: str
    usage: Usage


class Wire(Protocol):
    """One provider. Everything but `routes` is called by the worker's thread."""

    provider: str

    @property
    def error_file(self) -> bool:
        """False: errors, and requests that were not executed, have their lines in the output file with the answers."""
        ...

    def routes(self, emulation: "Emulation") -> Sequence[BaseRoute]:
        """The paths that the provider's SDK calls."""
        ...

    def check_limits(self, limits: dict[str, Any]) -> None:
        """Raises ValueError naming a limit that this provider does not have."""
        ...

    def validate(self, batch: Batch, lines: LineFile) -> Verdict:
        """Look at the whole input, as the provider does before it executes anything."""
        ...

    def execute(self, batch: Batch, line: bytes, now: int, strike: Strike) -> Result:
        """Answer one request."""
        ...

    def abandon(self, batch: Batch, line: bytes, outcome: Phase) -> bytes:
        """The line (with newline) of a request that was not executed because the batch expired or was canceled."""
        ...

    def result_file(self, batch: Batch, kind: str) -> tuple[str, str, float | None]:
        """Purpose, file name and time of expiry of the batch's `output` or `errors` file."""
        ...


@runtime_checkable
class Finishing(Protocol):
    """A wire that also writes the results of an ending batch somewhere else. Done again, it writes the same."""

    def finish(self, batch: Batch, output: LineFile) -> None:
        """Called before the batch has ended, with the lines of the output file, if there are any."""
        ...


def fingerprint_of(body: dict[str, Any]) -> bytes:
    """sha256 of the canonical JSON of a request's body: what the bill counts by."""
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
