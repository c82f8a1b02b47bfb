"""Replies that go wrong: dropped connections, hangs, cut bodies, other people's error pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from batch_assets.emulator.clock import Clock
from batch_assets.emulator.faults import Fault

Work = Callable[[], Awaitable[Response]]
Refusal = Callable[[Fault], Response]


class BreakableProtocol(H11Protocol):
    """HTTP/1.1 that lends its transport to the application, as `scope["state"]["transport"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Dropped(Response):
    """No response: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _transport(scope).abort()
        await _until_disconnected(receive)
        if self.background is not None:
            await self.background()


class Hanging(Response):
    """No response for `seconds`, then the connection is reset; ends early with the client or the server."""

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        super().__init__()
        self._seconds = seconds
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_until_disconnected(receive))
        ends_at = asyncio.get_running_loop().time() + self._seconds
        while not gone.done() and not self._stopping() and asyncio.get_running_loop().time() < ends_at:
            await asyncio.wait([gone], timeout=0.05)
        _transport(scope).abort()
        await gone


class CutStream(StreamingResponse):
    """A body that ends before its content-length: what was sent is flushed, then the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        _transport(scope).close()
        await _until_disconnected(receive)


async def first_bytes(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The first `limit` bytes of `chunks`."""
    async for chunk in chunks:
        yield chunk[:limit]
        limit -= len(chunk)
        if limit <= 0:
            return


def proxy_page(status: int) -> Response:
    """The error page of something between the client and the provider."""
    return HTMLResponse(
        f"<html><head><title>{status} Bad Gateway</title></head><body><center><h1>{status} Bad Gateway</h1></center>"
        "<hr><center>cloudflare</center></body></html>",
        status_code=status,
    )


async def perform(  # noqa: PLR0911 -- one return a fault
    fault: Fault | None,
    request: Request,
    work: Work,
    *,
    refusal: Refusal,
    clock: Clock,
    stopping: Callable[[], bool],
) -> Response:
    """Do `work`, or not, and answer as `fault` says. `refusal` renders a status in the provider's own error body."""
    if fault is None:
        return await work()
    params: dict[str, Any] = fault.params
    match fault.fault:
        case "slow":
            await asyncio.sleep(params["seconds"])
            return await work()
        case "upload_cut":
            await _read_some(request, params["after_bytes"])
            return Dropped()
        case "drop_then_accept":
            await request.body()
            return Dropped(background=BackgroundTask(_late, work, clock, clock.now() + params["seconds"], stopping))
        case "refused" | "proxy_error" | "drop" | "hang":
            await _drain(request)
        case _:
            response = await work()
            if response.status_code >= 400:
                return response
    match fault.fault:
        case "refused" | "accept_then_error":
            return refusal(fault)
        case "proxy_error" | "accept_then_proxy_error":
            return proxy_page(params["status"])
        case "hang" | "accept_then_hang":
            return Hanging(params["seconds"], stopping)
        case _:
            return Dropped()


async def _late(work: Work, clock: Clock, due: float, stopping: Callable[[], bool]) -> None:
    while clock.now() < due and not stopping():
        await asyncio.sleep(0.02)
    if clock.now() >= due:
        await work()


async def _drain(request: Request) -> None:
    """Read the whole body, so that the client gets to read the answer."""
    async for _ in request.stream():
        pass


async def _read_some(request: Request, wanted_bytes: int) -> None:
    async for chunk in request.stream():
        wanted_bytes -= len(chunk)
        if wanted_bytes <= 0:
            return
