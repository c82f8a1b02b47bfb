"""One process at a time works for an account: a lease in the store, itself a journal of created-once objects.

The lease makes admission and budgets exact. It is not what keeps us from paying twice: a process that sleeps past its
lease loses the next entry of a shard's journal, whoever holds the lease.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batch_assets.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_assets.ledger import Ledger


class Lease:
    """Held by this process until released, or until it was not renewed in time."""

    def __init__(self, ledger: Ledger, account: str, number: int, taken: float) -> None:
        self._ledger, self._account = ledger, account
        self._number = number
        self._taken = taken

    @property
    def remaining_seconds(self) -> float:
        """By this process's own monotonic clock, counted from before the lease was written."""
        return self._ledger.timing.lease_seconds - (time.monotonic() - self._taken)

    def renew(self) -> None:
        """Go on holding it. Raises Transient if it has passed to another process: stop working for the account."""
        seconds = self._ledger.timing.lease_seconds
        if self.remaining_seconds > seconds / 2:
            return
        taken = time.monotonic()
        if not self._ledger.take_lease(self._account, self._number + 1, seconds):
            raise Transient(
                f"the lease of {self._account} has passed to another process; this one stops working for it"
            )
        self._ledger.drop_lease_entry(self._account, self._number)
        self._number, self._taken = self._number + 1, taken

    def release(self) -> None:
        """Let the next one in."""
        if self._ledger.take_lease(self._account, self._number + 1, 0):
            self._ledger.drop_lease_entry(self._account, self._number)


@contextmanager
def hold_account(ledger: Ledger, account: str) -> Iterator[Lease | None]:
    """The lease of an account for the length of the block; None if another process holds it."""
    taken = time.monotonic()
    newest = ledger.newest_lease(account)
    number = 1 if newest is None else newest.number + 1
    if newest is not None and 0 < newest.seconds > ledger.age_seconds(newest.since):
        yield None
        return
    if not ledger.take_lease(account, number, ledger.timing.lease_seconds):
        yield None
        return
    if newest is not None:
        ledger.drop_lease_entry(account, newest.number)
    lease = Lease(ledger, account, number, taken)
    try:
        yield lease
    finally:
        lease.release()
