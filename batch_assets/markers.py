"""The small records that the ledger keeps beside plans and shards: who owns what, and what is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from batch_assets.records import FORMAT, PlanRef


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHeader:
    """`store.json`."""

    store_id: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """An open marker: says no more than where to look."""

    account: str
    plan: PlanRef | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOwner:
    """`batches/{batch}.json`: the one shard that a provider's batch belongs to."""

    shard_id: str
    writer: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEntry:
    """`lease/{n}.json`: who works for an account, for `seconds` from when it was written; 0 releases it."""

    number: int
    seconds: float
    writer: str
    since: datetime | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPlan:
    """A generation that has an open marker."""

    ref: PlanRef
    account: str
    opened: bool
    """All shards of its plan have been opened."""
    canceled: bool
    """Nobody wants it any more: nothing more of it is sent."""
    since: datetime
    """The store's clock."""
