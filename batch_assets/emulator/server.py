"""The HTTP server: every provider's wire and the control endpoint on one port of 127.0.0.1."""

import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from batch_assets.emulator import control
from batch_assets.emulator.anthropic_wire import AnthropicWire
from batch_assets.emulator.breakage import BreakableProtocol
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.gcs_wire import GcsCalls
from batch_assets.emulator.gemini_wire import GeminiWire
from batch_assets.emulator.mistral_wire import MistralWire
from batch_assets.emulator.openai_wire import OpenAIWire
from batch_assets.emulator.vertex_wire import VertexWire
from batch_assets.emulator.wire import Wire

HOST = "127.0.0.1"

Around: TypeAlias = Callable[[ASGIApp], ASGIApp]
"""What is put around the application, to see what passes."""


class PortInUseError(Exception):
    """Something else listens on `port`."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of {HOST} is in use")
        self.port = port


def wires() -> Sequence[Wire]:
    """The providers that the emulator speaks. A wire whose paths are wider comes later."""
    return [AnthropicWire(), MistralWire(), VertexWire(), GeminiWire(), OpenAIWire()]


def listen(port: int) -> socket.socket:
    """A listening socket of the loopback interface; port 0 takes any free one. Raises PortInUseError."""
    # The protocol has to be named: asyncio turns Nagle's algorithm off only where it is, else every answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(port) from None
        raise
    return listener


class Server:
    """An emulation that is being served. `run` blocks until `stop` (any thread) or SIGINT/SIGTERM (main thread)."""

    def __init__(
        self, *, port: int, state: Path | None, latency_seconds: float, seed: int, around: Around | None = None
    ) -> None:
        self._listener = listen(port)
        try:
            self.emulation = Emulation(folder=state, latency_seconds=latency_seconds, seed=seed, wires=wires())
        except BaseException:
            self._listener.close()
            raise
        routes: list[BaseRoute] = [*control.routes(self.emulation), *GcsCalls(self.emulation).routes()]
        for wire in self.emulation.wires.values():
            routes += wire.routes(self.emulation)
        application: ASGIApp = Starlette(routes=routes)
        config = uvicorn.Config(
            around(application) if around is not None else application,
            http=BreakableProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="error",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        self._server = _Server(config, self.emulation)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def run(self) -> None:
        try:
            self.emulation.start()
            self._server.run(sockets=[self._listener])
        finally:
            self.emulation.close()
            self._listener.close()

    def stop(self) -> None:
        self.emulation.stopping = True
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's server, which tells the emulation as soon as it is to stop, so that hanging replies end."""

    def __init__(self, config: uvicorn.Config, emulation: Emulation) -> None:
        super().__init__(config)
        self._emulation = emulation

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._emulation.stopping = True
        await super().shutdown(sockets)
