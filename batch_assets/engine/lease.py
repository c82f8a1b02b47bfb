"""One process at a time works for an account: a lease in the store, itself a journal of created-once objects."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batch_assets.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_assets.ledger import Ledger

LEASE_SECONDS = 900.0
"""How long a lease holds without being renewed; longer than any one step under it."""


class Lease:
    """Held by this process until released, or until it was not renewed in time."""

    def __init__(self, ledger: Ledger, account: str, number: int, taken: float) -> None:
        self._ledger, self._account = ledger, account
        self._number = number
        self._taken = taken

    @property
    def remaining_seconds(self) -> float:
        """By this process's own monotonic clock, counted from before the lease was written."""
        return LEASE_SECONDS - (time.monotonic() - self._taken)

    def renew(self) -> None:
        """Go on holding it. Raises Transient if it has passed to another process: stop working for the account."""
        if self.remaining_seconds > LEASE_SECONDS / 2:
            return
        taken = time.monotonic()
        if not self._ledger.take_lease(self._account, self._number + 1, LEASE_SECONDS):
            raise Transient(
                f"the lease of {self._account} has passed to another process; this one stops working for it"
            )
        self._ledger.drop_lease_entry(self._account, self._number)
        self._number, self._taken = self._number + 1, taken

    def release(self) -> None:
        """Let the next one in."""
        self._ledger.take_lease(self._account, self._number + 1, 0)
        self._ledger.drop_lease_entry(self._account, self._number)


@contextmanager
def hold_account(ledger: Ledger, account: str) -> Iterator[Lease | None]:
    """The lease of an account for the length of the block; None if another process holds it."""
    taken = time.monotonic()
    newest = ledger.newest_lease(account)
    number = 1 if newest is None else newest.number + 1
    if newest is not None and ledger.age_seconds(newest.since) < newest.seconds:
        yield None
        return
    if not ledger.take_lease(account, number, LEASE_SECONDS):
        yield None
        return
    if newest is not None:
        ledger.drop_lease_entry(account, newest.number)
    lease = Lease(ledger, account, number, taken)
    try:
        yield lease
    finally:
        lease.release()
