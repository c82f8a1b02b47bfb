"""Anthropic's error bodies: {"type": "error", "error": {type, message, details?}, "request_id"} (SDK 2.12 types)."""

from typing import Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.faults import Fault

_USUAL: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "The requested resource could not be found."),
    408: ("timeout_error", "The request timed out."),
    409: ("invalid_request_error", "The resource was changed by another request."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed the rate limit of your organization."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def response(self, request_id: str) -> Response:
        body = error_body(self.status, message=self.message, request_id=request_id)
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def error_body(
    status: int, *, request_id: str, message: str | None = None, kind: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body that comes with `status`; `code` is the cause that `details.error_code` names."""
    usual_kind, usual_message = _USUAL.get(status, _USUAL[500 if status >= 500 else 400])
    error: dict[str, Any] = {"type": kind or usual_kind, "message": message or usual_message}
    if code is not None:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": request_id}


def refusal(fault: Fault, request_id: str) -> Response:
    """The answer of the faults `refused` and `accept_then_error`."""
    params = fault.params
    status = int(params["status"])
    body = error_body(
        status,
        request_id=request_id,
        message=params.get("message"),
        kind=params.get("type"),
        code=params.get("code"),
    )
    wait = params.get("retry_after")
    return JSONResponse(body, status_code=status, headers=None if wait is None else {"retry-after": str(wait)})
