"""Errors of Google's APIs for Gemini: {"error": {code, message, status, details}} (docs and SDK 3.4, read 2026-11)."""

from typing import Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.faults import Fault

_USUAL: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    402: ("FAILED_PRECONDITION", "Billing is not enabled."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "Requested entity was not found."),
    408: ("DEADLINE_EXCEEDED", "The request timed out."),
    409: ("ALREADY_EXISTS", "Requested entity already exists."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The service is currently unavailable."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


class GoogleRefused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, message: str | None = None, *, code: str | None = None) -> None:
        self.status = status
        self.body = error_body(status, message, code)
        super().__init__(self.body["error"]["message"])

    def response(self) -> Response:
        return JSONResponse(self.body, status_code=self.status)


def error_body(status: int, message: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body that comes with `status`; `code` is Google's own name of it."""
    usual_code, usual_message = _USUAL.get(status, _USUAL[500 if status >= 500 else 400])
    return {"error": {"code": status, "message": message or usual_message, "status": code or usual_code}}


def google_refusal(fault: Fault) -> Response:
    """The answer of the faults `refused` and `accept_then_error`."""
    status = int(fault.params["status"])
    headers = {}
    if (wait := fault.params.get("retry_after")) is not None:
        headers["retry-after"] = str(wait)
    body = error_body(status, fault.params.get("message"), fault.params.get("code"))
    return JSONResponse(body, status_code=status, headers=headers)
