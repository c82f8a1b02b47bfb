"""The holds of an instance, and their end by a person's hand: for where the sensors, or the store, are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import DagsterInstance
from dagster._core.errors import DagsterHomeNotSetError
from dagster._core.storage.tags import BACKFILL_ID_TAG

from batch_assets.dagster.hold import HOLD_TAG, all_holds, backfill_status, is_open, release_hold
from batch_assets.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from dagster import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBackfill:
    """A backfill that a placeholder run keeps in progress."""

    instance: DagsterInstance
    record: RunRecord
    """Of the placeholder run."""

    @property
    def backfill_id(self) -> str:
        """As the UI shows it."""
        return str(self.record.dagster_run.tags[BACKFILL_ID_TAG])

    @property
    def scope(self) -> str:
        """Store id and namespace of what waits."""
        return str(self.record.dagster_run.tags[HOLD_TAG])

    @property
    def since(self) -> datetime:
        """When the hold was taken."""
        return self.record.create_timestamp

    @property
    def status(self) -> str:
        """Of the backfill: REQUESTED is in progress, CANCELING is waiting for the hold alone."""
        status = backfill_status(self.instance, self.backfill_id)
        return "gone" if status is None else status.value


def held_backfills() -> list[HeldBackfill]:
    """Every hold of the instance that DAGSTER_HOME names, of all stores. Raises ConfigError without it."""
    try:
        instance = DagsterInstance.get()
    except DagsterHomeNotSetError:
        raise ConfigError("DAGSTER_HOME is not set: the folder of the Dagster instance whose backfills wait") from None
    return [HeldBackfill(instance=instance, record=record) for record in all_holds(instance)]


def release_backfill(held: HeldBackfill, *, force: bool) -> str:
    """End the hold; returns what follows. Raises ConfigError for a backfill in progress, unless forced."""
    if not is_open(held.instance, held.backfill_id):
        release_hold(held.instance, held.record.dagster_run, canceled=True)
        return f"{held.backfill_id}: released; it was {held.status}"
    if not force:
        raise ConfigError(
            f"backfill {held.backfill_id} is in progress. Cancel it in the Dagster UI first; or add --force: Dagster "
            "then fails the partitions that have not landed, while their batches go on and their tables still land. "
            "Where batch_resume runs and something waits, it takes the hold again"
        )
    release_hold(held.instance, held.record.dagster_run)
    return f"{held.backfill_id}: released; Dagster fails what has not landed of it"
