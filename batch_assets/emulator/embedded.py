"""The emulator in a thread of this process."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from batch_assets.emulator.client import Controls
from batch_assets.emulator.server import Around, Server


class Emulator(Controls):
    """A context manager: serves from `__enter__` (or `start`) to `__exit__` (or `stop`).

    `state`: a folder that survives; None is a temporary one. `latency_seconds`: how long a batch takes; 0 means that
    the next call sees it completed. `seed`: the order of result lines. `port` 0: any free one. `around` is put around
    the ASGI application, to see what passes.
    """

    def __init__(
        self,
        state: Path | None = None,
        *,
        latency_seconds: float = 2.0,
        seed: int = 0,
        port: int = 0,
        around: Around | None = None,
    ) -> None:
        self._around = around
        self._state = state
        self._latency_seconds = latency_seconds
        self._seed = seed
        self._port = port
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        if self._server is None:
            raise RuntimeError("the emulator is not running")
        return self._server.url

    def start(self) -> Self:
        """Raises PortInUseError, StateInUseError."""
        self._server = Server(
            port=self._port,
            state=self._state,
            latency_seconds=self._latency_seconds,
            seed=self._seed,
            around=self._around,
        )
        self._port = self._server.port  # a restart keeps it
        self._thread = threading.Thread(target=self._server.run, name="emulator", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
