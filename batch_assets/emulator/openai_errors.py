"""OpenAI's error bodies: {"error": {message, type, param, code}} (OpenAI OpenAPI spec 2.3.0, read 2026-11)."""

from typing import Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.faults import Fault

_USUAL: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "billing_hard_limit_reached", "Billing hard limit has been reached."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Your project does not have access."),
    404: ("invalid_request_error", None, "Not found."),
    408: ("invalid_request_error", None, "Request timed out."),
    409: ("invalid_request_error", None, "The resource was changed by another request."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The server is currently overloaded. Please try again later."),
    529: ("server_error", None, "The server is currently overloaded. Please try again later."),
}


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, kind=kind, param=param, code=code)
        self.headers = headers

    def response(self) -> Response:
        return JSONResponse(self.body, status_code=self.status, headers=self.headers)


def error_body(message: str, *, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def usual_error(status: int, *, message: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body that usually comes with `status`."""
    kind, usual_code, usual_message = _USUAL.get(status, _USUAL[500 if status >= 500 else 400])
    return error_body(message or usual_message, kind=kind, param=None, code=code or usual_code)


def refusal(fault: Fault) -> Response:
    """The answer of the faults `refused` and `accept_then_error`."""
    status = int(fault.params["status"])
    body = usual_error(status, message=fault.params.get("message"), code=fault.params.get("code"))
    if kind := fault.params.get("type"):
        body["error"]["type"] = kind
    headers = {}
    if (wait := fault.params.get("retry_after")) is not None:
        headers["retry-after"] = str(wait)
    return JSONResponse(body, status_code=status, headers=headers)
