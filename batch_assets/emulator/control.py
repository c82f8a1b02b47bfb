"""The control endpoint `/_emulator`: bill, faults, clock, limits, reset. Not part of any provider's wire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import CATALOGUE

_Endpoint = Callable[[Request], Awaitable[Response]]


def routes(emulation: Emulation) -> Sequence[Route]:
    """GET bill[?detail=1], health, faults, clock; POST faults, clock, limits, latency, reset; DELETE faults."""

    async def get_bill(request: Request) -> Response:
        detail = request.query_params.get("detail", "0") not in ("", "0", "false")
        return JSONResponse(await asyncio.to_thread(emulation.bill, detail=detail))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "providers": sorted(emulation.wires)})

    async def get_faults(request: Request) -> Response:
        armed = [msgspec.to_builtins(fault) for fault in emulation.faults.armed()]
        known = {
            name: {"stage": kind.stage, "operations": list(kind.operations), "params": kind.params}
            for name, kind in CATALOGUE.items()
        }
        return JSONResponse({"faults": armed, "known": known})

    async def arm(request: Request) -> Response:
        return JSONResponse(msgspec.to_builtins(emulation.faults.arm(await _object(request))))

    async def clear(request: Request) -> Response:
        emulation.faults.clear()
        return JSONResponse({"faults": []})

    async def get_clock(request: Request) -> Response:
        return JSONResponse({"now": emulation.clock.now(), "offset_seconds": emulation.clock.offset_seconds})

    async def advance(request: Request) -> Response:
        seconds = _number(await _object(request), "advance_seconds")
        now = await asyncio.to_thread(emulation.advance, seconds)
        return JSONResponse({"now": now, "offset_seconds": emulation.clock.offset_seconds})

    async def limits(request: Request) -> Response:
        given = await _object(request)
        provider = str(given.pop("provider", "openai"))
        if provider not in emulation.wires:
            raise ValueError(f"unknown provider {provider!r}; known: {sorted(emulation.wires)}")
        emulation.wires[provider].check_limits(given)
        emulation.set_limits(provider, given)
        return JSONResponse(emulation.limits(provider))

    async def latency(request: Request) -> Response:
        emulation.latency_seconds = max(0.0, _number(await _object(request), "seconds"))
        return JSONResponse({"seconds": emulation.latency_seconds})

    async def reset(request: Request) -> Response:
        await asyncio.to_thread(emulation.reset)
        return JSONResponse({})

    table = [
        ("bill", get_bill, "GET"),
        ("health", health, "GET"),
        ("faults", get_faults, "GET"),
        ("faults", arm, "POST"),
        ("faults", clear, "DELETE"),
        ("clock", get_clock, "GET"),
        ("clock", advance, "POST"),
        ("limits", limits, "POST"),
        ("latency", latency, "POST"),
        ("reset", reset, "POST"),
    ]
    return [Route(f"/_emulator/{path}", _answering(endpoint), methods=[method]) for path, endpoint, method in table]


def _answering(endpoint: _Endpoint) -> _Endpoint:
    """`endpoint`, with a ValueError as a 400 that says what was wrong."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return answer


async def _object(request: Request) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(await request.body())
    except msgspec.DecodeError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")
    return value


def _number(value: dict[str, Any], key: str) -> float:
    number = value.get(key)
    if not isinstance(number, int | float):
        raise ValueError(f"{key} is a number of seconds")
    return float(number)
