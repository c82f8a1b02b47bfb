"""What Google's two wires do alike: a call from its authentication to its answer, and the look at an input's lines."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from batch_assets.emulator import breakage
from batch_assets.emulator.batches import Problem
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import HEADER, Fault, Stage, from_header
from batch_assets.emulator.gemini_errors import GoogleRefused, google_refusal
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.wire import Verdict

_MOST_PROBLEMS = 100


class _Asking(Protocol):
    asked: list[Fault]


_Call = TypeVar("_Call", bound=_Asking)


def endpoint(
    emulation: Emulation,
    provider: str,
    operation: str,
    handler: Callable[[_Call], Awaitable[Response]],
    *,
    call_of: Callable[[Request, list[Fault]], _Call],
    authenticate: Callable[[Request], Response | None],
) -> Callable[[Request], Awaitable[Response]]:
    """Authenticate, let faults strike, answer. `authenticate` returns its refusal, or raises GoogleRefused."""

    async def answer(request: Request) -> Response:
        try:
            if (refusal := authenticate(request)) is not None:
                return refusal
            call = call_of(request, _asked(request, operation))

            async def work() -> Response:
                try:
                    return await handler(call)
                except GoogleRefused as refused:
                    return refused.response()

            return await breakage.perform(
                emulation.faults.take(provider, Stage.CALL, operation, call.asked),
                request,
                work,
                refusal=google_refusal,
                clock=emulation.clock,
                stopping=lambda: emulation.stopping,
            )
        except GoogleRefused as refused:
            return refused.response()
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    return answer


async def no_such_url(request: Request) -> Response:
    """A path that the wire does not have."""
    return GoogleRefused(404, f"The requested URL {request.url.path} was not found.").response()


def failed(message: str, code: str = "invalid") -> Verdict:
    """The whole batch fails before it starts."""
    return Verdict(problems=[Problem(code=code, message=message)])


def problems_of(lines: LineFile) -> list[Problem]:
    """The first lines that are no requests."""
    problems: list[Problem] = []
    for number, raw in enumerate(lines, start=1):
        if not _is_request(raw):
            problems.append(Problem(code="invalid", message=f"Line {number} is no request.", line=number))
            if len(problems) >= _MOST_PROBLEMS:
                break
    return problems


def _is_request(raw: bytes) -> bool:
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(line, dict) and isinstance(line.get("request"), dict)


def _asked(request: Request, operation: str) -> list[Fault]:
    try:
        return from_header(request.headers.get(HEADER, ""), operation)
    except ValueError as error:
        raise GoogleRefused(400, f"{HEADER}: {error}") from None
