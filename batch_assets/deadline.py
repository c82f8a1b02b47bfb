"""Calls that may take so long *in all*: an SDK's timeouts are per read, and it sleeps between its own retries."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class DeadlineExceeded(Exception):
    """The time was over. The call may still be going on; what it does is not waited for."""


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """What the call returns or raises, within so many seconds. Raises DeadlineExceeded when they are over."""
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  # handed to the waiting thread as it is
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        if answer.done():
            raise
        raise DeadlineExceeded(f"took longer than {seconds:.0f} s") from error
