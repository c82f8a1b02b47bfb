"""Faults: which there are, which are armed, and which of them strikes now.

A fault is armed through the control endpoint or asked for by the header `x-batch-assets-fault` of a call
(`name`, or `name; param=value; param=value`; several separated by commas). It strikes `times` times, after it has let
`after` chances pass. `files.content` is the download of results at every provider, whatever its path.
"""

import sqlite3
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from batch_assets.emulator.store import Store

HEADER = "x-batch-assets-fault"

CALLS = (
    "files.create",
    "files.list",
    "files.retrieve",
    "files.content",
    "files.delete",
    "batches.create",
    "batches.list",
    "batches.retrieve",
    "batches.cancel",
    "batches.delete",
    "realtime",
)


class Stage(StrEnum):
    """Where a fault strikes."""

    CALL = "call"  # an HTTP call, whichever
    VIEW = "view"  # what a call says about a batch
    BATCH = "batch"  # what becomes of a batch; taken when it is created
    CONTENT = "content"  # the lines of a result file, per download
    REQUEST = "request"  # one request of a batch, when it is executed


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault of the catalogue: where it may strike, its parameters with their defaults."""

    stage: Stage
    operations: tuple[str, ...]
    params: dict[str, Any] = field(default_factory=dict)


_CREATES = ("files.create", "batches.create", "realtime")
_BATCH = ("batch",)
_CONTENT = ("files.content",)
_REQUEST = ("request",)
_RULE = {"contains": "", "each": False}

CATALOGUE: dict[str, Kind] = {
    # Calls. `accept_then_*`: the work is done, and only then the reply goes wrong.
    "refused": Kind(
        Stage.CALL, CALLS, {"status": 500, "code": None, "message": None, "type": None, "retry_after": None}
    ),
    "proxy_error": Kind(Stage.CALL, CALLS, {"status": 502}),
    "drop": Kind(Stage.CALL, CALLS),
    "hang": Kind(Stage.CALL, CALLS, {"seconds": 3600.0}),
    "slow": Kind(Stage.CALL, CALLS, {"seconds": 1.0}),
    "accept_then_drop": Kind(Stage.CALL, CALLS),
    "accept_then_error": Kind(Stage.CALL, CALLS, {"status": 500}),
    "accept_then_proxy_error": Kind(Stage.CALL, CALLS, {"status": 502}),
    "accept_then_hang": Kind(Stage.CALL, CALLS, {"seconds": 3600.0}),
    "drop_then_accept": Kind(Stage.CALL, ("batches.create", "batches.cancel"), {"seconds": 1.0}),
    "upload_cut": Kind(Stage.CALL, _CREATES, {"after_bytes": 1}),
    # What a call says about a batch.
    "unknown_status": Kind(Stage.VIEW, ("batches.retrieve", "batches.list"), {"status": "paused"}),
    # What becomes of a batch.
    "list_lag": Kind(Stage.BATCH, ("batches.list",), {"seconds": 0.0, "lists": 0}),
    "validation_failed": Kind(
        Stage.BATCH, _BATCH, {"code": "invalid_request", "message": "The batch failed validation.", "line": None}
    ),
    "token_limit_exceeded": Kind(Stage.BATCH, _BATCH, {"limit": 90_000}),
    "stuck": Kind(Stage.BATCH, _BATCH, {"fraction": 0.5}),
    "expired": Kind(Stage.BATCH, _BATCH, {"fraction": 0.5}),
    "canceled": Kind(Stage.BATCH, _BATCH, {"fraction": 0.5}),
    "no_result_files": Kind(Stage.BATCH, _BATCH),
    "result_files_gone": Kind(Stage.BATCH, _BATCH),
    "vanished": Kind(Stage.BATCH, _BATCH, {"fraction": 0.0}),
    # The lines of a result file. `kind` is `output`, `errors` or `any`.
    "duplicated_lines": Kind(Stage.CONTENT, _CONTENT, {"count": 1, "kind": "output"}),
    "dropped_lines": Kind(Stage.CONTENT, _CONTENT, {"count": 1, "kind": "output"}),
    "foreign_lines": Kind(Stage.CONTENT, _CONTENT, {"count": 1, "kind": "output"}),
    "garbled_lines": Kind(Stage.CONTENT, _CONTENT, {"count": 1, "kind": "output"}),
    "truncated": Kind(Stage.CONTENT, _CONTENT, {"fraction": 0.5, "kind": "output"}),
    "cut": Kind(Stage.CONTENT, _CONTENT, {"after_bytes": 100, "kind": "output"}),
    "empty": Kind(Stage.CONTENT, _CONTENT, {"kind": "output"}),
    # One request. `contains` is looked for in the raw line; with `each`, `times` counts per distinct request.
    "request_error": Kind(Stage.REQUEST, _REQUEST, {"status": 500, "code": "server_error", "message": None, **_RULE}),
    "invalid_json": Kind(Stage.REQUEST, _REQUEST, _RULE),
    "schema_violation": Kind(Stage.REQUEST, _REQUEST, _RULE),
    "refusal": Kind(Stage.REQUEST, _REQUEST, _RULE),
    "length": Kind(Stage.REQUEST, _REQUEST, _RULE),
    "content_filter": Kind(Stage.REQUEST, _REQUEST, _RULE),
}


class Fault(msgspec.Struct):
    """An armed fault; `seen` chances so far, of which it took `fired`."""

    fault: str
    operation: str
    provider: str = "*"
    times: int = 1
    after: int = 0
    params: dict[str, Any] = {}
    id: int = 0
    seen: int = 0
    fired: int = 0

    @property
    def stage(self) -> Stage:
        return CATALOGUE[self.fault].stage

    @property
    def spent(self) -> bool:
        return self.fired >= self.times and not self.params.get("each")

    def strike(self) -> bool:
        """Count one chance; True when it is taken."""
        self.seen += 1
        if self.seen <= self.after or self.fired >= self.times:
            return False
        self.fired += 1
        return True


def described(spec: dict[str, Any]) -> Fault:
    """The fault that `spec` describes; raises ValueError naming what is not known and what is.

    A number in place of a name (`"429"`) is `refused` with that status.
    """
    rest = dict(spec)
    name = str(rest.pop("fault", ""))
    if name.isdecimal():
        name, rest["status"] = "refused", int(name)
    if name not in CATALOGUE:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(sorted(CATALOGUE))}")
    kind = CATALOGUE[name]
    operation = str(rest.pop("operation", kind.operations[0] if len(kind.operations) == 1 else ""))
    if operation != "*" and operation not in kind.operations:
        raise ValueError(f"fault {name!r} strikes at {', '.join(kind.operations)}; not at {operation!r}")
    times, after, provider = rest.pop("times", 1), rest.pop("after", 0), rest.pop("provider", "*")
    if not isinstance(times, int) or not isinstance(after, int) or times < 1 or after < 0:
        raise ValueError("times is an integer from 1, after an integer from 0")
    rest.update(rest.pop("params", {}))
    if unknown := rest.keys() - kind.params.keys():
        raise ValueError(f"fault {name!r} has no parameter {sorted(unknown)}; it has {sorted(kind.params)}")
    for key, value in rest.items():
        default = kind.params[key]
        if isinstance(default, int | float) and not isinstance(value, int | float):
            raise ValueError(f"parameter {key!r} of fault {name!r} is a number")
    return Fault(
        fault=name, operation=operation, provider=provider, times=times, after=after, params={**kind.params, **rest}
    )


def from_header(value: str, operation: str) -> list[Fault]:
    """The faults that a call asks for by header. Raises ValueError like `described`."""
    faults = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, *pairs = (piece.strip() for piece in part.split(";"))
        spec: dict[str, Any] = {"fault": name}
        for pair in pairs:
            key, _, text = pair.partition("=")
            try:
                spec[key.strip()] = msgspec.json.decode(text.strip())
            except msgspec.DecodeError:
                spec[key.strip()] = text.strip()
        kind = CATALOGUE.get(name)
        if name.isdecimal() or (kind is not None and operation in kind.operations):
            spec["operation"] = operation
        faults.append(described(spec))
    return faults


class Faults:
    """The armed faults, kept in the store. Methods may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        rows = store.db.execute("SELECT record FROM faults ORDER BY id").fetchall()
        self._armed = [msgspec.json.decode(row[0], type=Fault) for row in rows]

    def arm(self, spec: dict[str, Any]) -> Fault:
        fault = described(spec)
        with self._lock:
            fault.id = 1 + max((armed.id for armed in self._armed), default=0)
            self._armed.append(fault)
            self._save(fault)
        return fault

    def armed(self) -> list[Fault]:
        """All, spent ones included, in the order of arming."""
        with self._lock:
            return list(self._armed)

    def clear(self) -> None:
        with self._lock, self._store.transaction() as db:
            self._armed = []
            db.execute("DELETE FROM faults")
            db.execute("DELETE FROM fault_hits")

    def take(
        self, provider: str, stage: Stage, operation: str, asked: list[Fault], *, kind: str | None = None
    ) -> Fault | None:
        """The first fault that strikes here and now: those `asked` by header first, then the armed ones.

        `kind` is the kind of file that is downloaded.
        """
        for fault in asked:
            if fault.stage is stage and fault.operation in (operation, "*") and _fits(fault, kind):
                return fault
        with self._lock:
            for fault in self._armed:
                if fault.stage is not stage or fault.operation not in (operation, "*"):
                    continue
                if fault.provider not in (provider, "*") or fault.spent or not _fits(fault, kind):
                    continue
                struck = fault.strike()
                self._save(fault)
                if struck:
                    return fault
        return None

    def rules(self, provider: str) -> "Rules":
        """The armed faults of stage REQUEST."""
        with self._lock:
            return Rules(
                self._store,
                [
                    fault
                    for fault in self._armed
                    if fault.stage is Stage.REQUEST and fault.provider in (provider, "*") and not fault.spent
                ],
            )

    def _save(self, fault: Fault) -> None:
        with self._store.transaction() as db:
            db.execute("REPLACE INTO faults VALUES (?, ?)", (fault.id, msgspec.json.encode(fault)))


class Rules:
    """The faults of stage REQUEST for one chunk of requests; what they count is kept by `save`."""

    def __init__(self, store: Store, faults: list[Fault]) -> None:
        self._store = store
        self._rules = [(fault, str(fault.params["contains"]).encode()) for fault in faults]
        self._hits: dict[tuple[int, bytes], int] = {}

    def strike(self, line: bytes, fingerprint: bytes) -> Fault | None:
        """The first fault that strikes this request."""
        for fault, needle in self._rules:
            if needle in line and (self._strike_each(fault, fingerprint) if fault.params["each"] else fault.strike()):
                return fault
        return None

    def _strike_each(self, fault: Fault, fingerprint: bytes) -> bool:
        fault.seen += 1
        if fault.seen <= fault.after:
            return False
        key = fault.id, fingerprint
        if key not in self._hits:
            with self._store.lock:
                row = self._store.db.execute(
                    "SELECT hits FROM fault_hits WHERE fault = ? AND fingerprint = ?", key
                ).fetchone()
            self._hits[key] = row[0] if row else 0
        self._hits[key] += 1
        struck = self._hits[key] <= fault.times
        fault.fired += struck
        return struck

    def save(self, db: sqlite3.Connection) -> None:
        """Within the caller's transaction; a fault that was cleared meanwhile stays cleared."""
        for fault, _ in self._rules:
            db.execute("UPDATE faults SET record = ? WHERE id = ?", (msgspec.json.encode(fault), fault.id))
        db.executemany("REPLACE INTO fault_hits VALUES (?, ?, ?)", [(*key, hits) for key, hits in self._hits.items()])


def _fits(fault: Fault, kind: str | None) -> bool:
    return fault.stage is not Stage.CONTENT or fault.params["kind"] in (kind, "any")
