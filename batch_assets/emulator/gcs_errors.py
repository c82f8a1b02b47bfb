"""Errors of the GCS JSON API: {"error": {code, message, errors: [{message, domain, reason}]}}.

Facts: the API's reference of status codes and google-cloud-storage 3.17, read 2026-11; nothing was tried on Google.
"""

from starlette.responses import JSONResponse, PlainTextResponse, Response

from batch_assets.emulator.faults import Fault

_USUAL: dict[int, tuple[str, str]] = {
    400: ("invalid", "Invalid argument."),
    401: ("authError", "Invalid Credentials"),
    403: ("forbidden", "The caller does not have permission."),
    404: ("notFound", "Not Found"),
    408: ("requestTimeout", "The request timed out."),
    409: ("conflict", "The request could not be completed due to a conflict with the current state of the resource."),
    410: ("gone", "The upload session is gone."),
    412: ("conditionNotMet", "At least one of the pre-conditions you specified did not hold."),
    429: (
        "rateLimitExceeded",
        "The object exceeded the rate limit for object mutation operations (create, update, and delete).",
    ),
    500: ("backendError", "Backend Error"),
    503: ("backendError", "We encountered an internal error. Please try again."),
}


class GcsRefused(Exception):
    """A call that is answered with an error. `plain`: as text, as media downloads are."""

    def __init__(self, status: int, message: str | None = None, *, reason: str | None = None, plain: bool = False):
        usual_reason, usual_message = usual(status)
        self.status = status
        self.message = message or usual_message
        self.reason = reason or usual_reason
        self.plain = plain
        super().__init__(self.message)

    def response(self) -> Response:
        if self.plain:
            return PlainTextResponse(self.message, status_code=self.status)
        return error_response(self.status, self.message, self.reason)


def usual(status: int) -> tuple[str, str]:
    """Reason and message that usually come with `status`."""
    return _USUAL.get(status, _USUAL[500 if status >= 500 else 400])


def error_response(status: int, message: str, reason: str, headers: dict[str, str] | None = None) -> Response:
    detail = {"message": message, "domain": "global", "reason": reason}
    body = {"error": {"code": status, "message": message, "errors": [detail]}}
    return JSONResponse(body, status_code=status, headers=headers)


def gcs_refusal(fault: Fault) -> Response:
    """The answer of the faults `refused` and `accept_then_error`."""
    status = int(fault.params["status"])
    reason, message = usual(status)
    headers = {}
    if (wait := fault.params.get("retry_after")) is not None:
        headers["retry-after"] = str(wait)
    return error_response(
        status, fault.params.get("message") or message, str(fault.params.get("code") or reason), headers
    )
