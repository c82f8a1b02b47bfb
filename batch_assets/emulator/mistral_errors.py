"""Mistral's error bodies (OpenAPI file and docs, read 2026-11).

Three forms: {"object": "error", message, type, param, code}; {"detail": text} for 401; {"detail": [{loc, msg, type}]}
for 422. The types and codes of single errors are from reports of users.
"""

from typing import Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.faults import Fault

_USUAL: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    402: ("payment_required", None, "You have no active subscription, or have used up your credits."),
    403: ("forbidden", None, "You have no access to this resource."),
    404: ("resource_not_found", None, "The resource was not found."),
    408: ("request_timeout", None, "The request timed out."),
    409: ("conflict", None, "The resource was changed by another request."),
    413: ("invalid_request_file", None, "The file is too large."),
    429: ("rate_limited", "1300", "Rate limit exceeded"),
    500: ("internal_server_error", "1000", "Service unavailable."),
}


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, body: dict[str, Any], *, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers

    def response(self) -> Response:
        return JSONResponse(self.body, status_code=self.status, headers=self.headers)


def error_body(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": param, "code": code}


def refused(status: int, message: str | None = None, *, kind: str | None = None, code: str | None = None) -> Refused:
    """The call is answered with `status` and its usual error, or the one given."""
    return Refused(status, usual_error(status, message=message, kind=kind, code=code))


def usual_error(
    status: int, *, message: str | None = None, kind: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body that usually comes with `status`."""
    if status == 401:
        return {"detail": message or "Unauthorized"}
    if status == 422:
        return unprocessable(("body",), message or "Input should be valid")
    usual_kind, usual_code, usual_message = _USUAL.get(status, _USUAL[500 if status >= 500 else 400])
    return error_body(message or usual_message, kind or usual_kind, code=code or usual_code)


def unprocessable(loc: tuple[str | int, ...], msg: str, kind: str = "value_error") -> dict[str, Any]:
    """The body of a 422: what is wrong, and where."""
    return {"detail": [{"type": kind, "loc": list(loc), "msg": msg}]}


def invalid(*loc: str | int, msg: str, kind: str = "value_error") -> Refused:
    """The call is answered with a 422."""
    return Refused(422, unprocessable(loc, msg, kind))


def no_such(what: str, name: str) -> Refused:
    return refused(404, f"{what} {name} not found")


def refusal(fault: Fault) -> Response:
    """The answer of the faults `refused` and `accept_then_error`."""
    params = fault.params
    status = int(params["status"])
    body = usual_error(status, message=params.get("message"), kind=params.get("type"), code=params.get("code"))
    headers = {}
    if (wait := params.get("retry_after")) is not None:
        headers["retry-after"] = str(wait)
    return JSONResponse(body, status_code=status, headers=headers)
