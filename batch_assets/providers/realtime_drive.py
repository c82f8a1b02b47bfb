"""The requests of a batch, asked one by one with bounded concurrency: what is answered is kept before more is asked.

At most `concurrency` requests are under way or answered and not kept yet. So many at most are executed again if the
process dies.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from batch_assets.errors import Blocked, ProviderError, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batch_assets.providers.realtime_batches import RealtimeBatches

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_REFUSALS = 5
"""So often a request is not begun, while others of its batch are answered, before that is its result."""
_BLOCKS = 2
"""The same of an answer that would block the model, in a batch of which anything was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one request: its result line, or why it has none and is to be asked again."""

    asked_at: float
    """Of the monotonic clock."""
    line: bytes | None = None
    said: str = ""
    """What the host said, where it did not begin it."""
    pause_seconds: float | None = None
    """The pause that it wants then, if it says so."""
    unreachable: bool = False
    """The host did not say anything: no model of it can be asked."""
    blocked: Blocked | None = None
    """The host wants a person."""
    given_up: bytes | None = None
    """The result line if it is not asked again, since others are answered."""


class Drive:
    """One call of a provider's `drive`."""

    def __init__(
        self,
        batches: RealtimeBatches,
        batch_id: str,
        left: Iterable[bytes],
        *,
        kept: int,
        ask: Callable[[bytes], Answer],
        concurrency: int,
        seconds: float,
        blocked_seconds: float,
    ) -> None:
        """`left` are the lines to ask, by `ask`, from any thread; `kept` answers are there already."""
        self._batches, self._batch_id, self._model = batches, batch_id, batches.model(batch_id)
        self._left, self._kept = deque(left), kept
        self._ask, self._concurrency = ask, concurrency
        self._blocked_seconds = blocked_seconds
        self._over_at = time.monotonic() + seconds
        self._running: dict[Future[Answer], bytes] = {}
        self._backoff = _Backoff()
        self._refusals: Counter[bytes] = Counter()
        self._blocked_in_a_row = 0
        self._answered = 0
        self._begun = False
        self._stop: ProviderError | None = None

    def run(self, renew: Callable[[], None]) -> None:
        """Ask until all is answered, the time is over, the batch is canceled, or the host wants a longer pause.

        What is under way then is waited for and kept. Raises Blocked, or Transient if another process works on it.
        """
        if self._left and not self._batches.begin(self._batch_id):
            # what stopped the last call does not come first
            self._left.rotate(secrets.randbelow(len(self._left)))
        with ThreadPoolExecutor(max_workers=self._concurrency) as pool:
            while self._left or self._running:
                self._wait_out_a_short_pause()
                if self._may_ask():
                    self._begin(pool)
                if not self._running:
                    break
                self._keep(wait(self._running, return_when=FIRST_COMPLETED).done)
                try:
                    renew()
                except Transient as error:
                    self._stop = self._stop or error
        self._write_hold()
        if self._stop is not None:
            raise self._stop

    def _wait_out_a_short_pause(self) -> None:
        if not self._running and self._stop is None and self._backoff.until <= self._over_at:
            time.sleep(max(0.0, self._backoff.until - time.monotonic()))

    def _may_ask(self) -> bool:
        now = time.monotonic()
        if self._stop is not None or now < self._backoff.until or (self._begun and now > self._over_at):
            return False
        return not self._batches.is_canceled(self._batch_id)

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        self._begun = True
        for _ in range(min(len(self._left), self._concurrency - len(self._running))):
            line = self._left.popleft()
            self._running[pool.submit(self._ask, line)] = line

    def _keep(self, done: Iterable[Future[Answer]]) -> None:
        lines = []
        for future in done:
            request, answer = self._running.pop(future), future.result()
            self._backoff.heard(answer)
            line = answer.line or self._given_up(request, answer)
            if line is not None:
                lines.append(line)
            else:
                self._left.append(request)
            self._heed(answer.blocked)
        if lines:
            self._batches.add_answers(self._batch_id, lines, before=self._kept)
            if not self._answered:
                self._batches.forget_holds(self._model)
            self._kept += len(lines)
            self._answered += len(lines)

    def _heed(self, blocked: Blocked | None) -> None:
        """Stop for what blocks the account; for what blocks the model if nothing else comes."""
        self._blocked_in_a_row = 0 if blocked is None else self._blocked_in_a_row + 1
        most = max(2, self._concurrency) * (_BLOCKS if self._kept else 1)
        if blocked is not None and (blocked.whole_account or self._blocked_in_a_row >= most):
            self._stop = self._stop or blocked

    def _given_up(self, request: bytes, answer: Answer) -> bytes | None:
        """The result of a request that is refused again and again, though others are answered: too large, say."""
        answered, most = (self._answered, _REFUSALS) if answer.blocked is None else (self._kept, _BLOCKS)
        if answer.given_up is None or not answered:
            return None
        self._refusals[request] += 1
        return answer.given_up if self._refusals[request] >= most else None

    def _write_hold(self) -> None:
        stop, backoff = self._stop, self._backoff
        pause = backoff.until - time.monotonic()
        if isinstance(stop, Blocked):
            model = None if stop.whole_account else self._model
            reason = str(stop).removeprefix(f"{stop.provider}: ")
            self._batches.write_hold(self._blocked_seconds, reason, model=model, blocked=True)
        elif self._left and pause > 0:
            model = None if backoff.unreachable else self._model
            self._batches.write_hold(pause, backoff.said, model=model)


class _Backoff:
    """How long nothing is asked after the host did not begin a request: as long as it wants, else ever longer."""

    def __init__(self) -> None:
        self.until = 0.0
        self.said = ""
        self.unreachable = False
        self._since = 0.0
        self._pause = _FIRST_PAUSE_SECONDS

    def heard(self, answer: Answer) -> None:
        """One more answer. What was asked before the last refusal was heard says nothing new."""
        if not answer.said:
            if answer.asked_at > self._since:
                self._pause = _FIRST_PAUSE_SECONDS
            return
        seconds = answer.pause_seconds
        if not seconds:
            if answer.asked_at <= self._since:
                return
            seconds, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self._since = time.monotonic()
        self.until = max(self.until, self._since + seconds)
        self.said, self.unreachable = answer.said, answer.unreachable


class Pace:
    """Lets requests go at an even rate, whichever thread they come from."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap_seconds = 60.0 / per_minute if per_minute else 0.0
        self._next_at = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        if not self._gap_seconds:
            return
        with self._lock:
            at = max(self._next_at, time.monotonic())
            self._next_at = at + self._gap_seconds
        time.sleep(max(0.0, at - time.monotonic()))
