"""OpenAI's `/v1/files` (OpenAPI spec 2.3.0, read 2026-11)."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.batches import Batch
from batch_assets.emulator.downloads import download
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Stage
from batch_assets.emulator.openai_errors import Refused
from batch_assets.emulator.openai_input import OpenAILimits
from batch_assets.emulator.store import StoredFile
from batch_assets.emulator.uploads import BadFormError, TooLargeError, receive_form

if TYPE_CHECKING:
    from batch_assets.emulator.openai_wire import Call

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_DAY_SECONDS = 86_400
_LIFE_SECONDS = 30 * _DAY_SECONDS  # of files with purpose batch, and of results, unless told otherwise
_FOREIGN_LINE = (
    b'{"id":"batch_req_foreign","custom_id":"foreign-0","response":{"status_code":200,"request_id":"foreign",'
    b'"body":{"id":"chatcmpl-foreign","object":"chat.completion","created":0,"model":"gpt-foreign","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"not yours","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}},"error":null}'
)


def result_expiry(batch: Batch, now: float) -> float:
    """When a result file of `batch` that is made now is deleted by the provider."""
    return now + float(batch.wire.get("output_expires_after_seconds") or _LIFE_SECONDS)


def new_file_id() -> str:
    return f"file-{secrets.token_hex(12)}"


class FileCalls:
    """The calls on files of one emulation."""

    def __init__(self, emulation: Emulation, provider: str, limits: Callable[[], OpenAILimits]) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits

    async def create(self, call: "Call") -> Response:
        file_id = new_file_id()
        partial = self._store.partial_path(file_id)
        limit = self._limits().max_file_bytes
        try:
            form = await receive_form(call.request, partial, max_bytes=limit)
            if form.filename is None:
                raise Refused(400, "'file' is a required property", param="file")
            purpose = form.fields.get("purpose", "")
            if purpose not in _PURPOSES:
                message = f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'"
                raise Refused(400, message, param="purpose", code="invalid_value")
            if purpose == "batch" and not form.filename.endswith(".jsonl"):
                raise Refused(400, "Invalid file format for Batch API. Must be .jsonl")
            now = self._emulation.clock.now()
            file = StoredFile(
                id=file_id,
                provider=self._provider,
                account=call.account,
                purpose=purpose,
                filename=form.filename,
                bytes=form.size,
                created_at=now,
                expires_at=_expiry(form.fields, now),
            )
            partial.rename(self._store.content_path(file_id))
            self._store.add_file(file)
        except BadFormError as error:
            raise Refused(400, f"Could not parse multipart form: {error}") from None
        except TooLargeError:
            raise Refused(413, f"File is too large. The maximum is {limit} bytes.", code="file_too_large") from None
        finally:
            partial.unlink(missing_ok=True)
        return JSONResponse(rendered(file))

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        limit = integer_query(query.get("limit"), "limit", default=10_000, most=10_000)
        files = [file for file in self._store.files(self._provider, call.account) if self._alive(file)]
        if query.get("order", "desc") == "desc":
            files.reverse()
        if query.get("purpose"):
            files = [file for file in files if file.purpose == query["purpose"]]
        if after := query.get("after"):
            positions = [i for i, file in enumerate(files) if file.id == after]
            if not positions:
                raise _no_such_file(after)
            files = files[positions[0] + 1 :]
        return JSONResponse(page([rendered(file) for file in files[:limit]], has_more=len(files) > limit))

    async def retrieve(self, call: "Call") -> Response:
        return JSONResponse(rendered(self._find(call)))

    async def delete(self, call: "Call") -> Response:
        file = self._find(call)
        self._store.delete_file(file.id)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def content(self, call: "Call") -> Response:
        file = self._find(call)
        fault = self._emulation.faults.take(self._provider, Stage.CONTENT, "files.content", call.asked, kind=file.kind)
        path = self._store.content_path(file.id)
        return download(path, size_bytes=file.bytes, filename=file.filename, fault=fault, foreign=_FOREIGN_LINE)

    def _find(self, call: "Call") -> StoredFile:
        return find_file(self._emulation, call.account, call.request.path_params["id"])

    def _alive(self, file: StoredFile) -> bool:
        return file.expires_at is None or self._emulation.clock.now() < file.expires_at


def find_file(emulation: Emulation, account: str, file_id: str) -> StoredFile:
    """The account's file; raises Refused (404) when it does not exist or has expired."""
    file = emulation.store.file(file_id)
    expired = file is not None and file.expires_at is not None and emulation.clock.now() >= file.expires_at
    if file is None or file.account != account or expired:
        raise _no_such_file(file_id)
    return file


def rendered(file: StoredFile) -> dict[str, Any]:
    """The file object."""
    return {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "status": "processed",
        "status_details": None,
    }


def page(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """One page of a listing."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def integer_query(text: str | None, name: str, *, default: int, most: int) -> int:
    """A query parameter from 1 to `most`; raises Refused (400)."""
    if text is None:
        return default
    if not text.lstrip("-").isdecimal():
        raise Refused(400, f"Invalid type for '{name}': expected an integer.", param=name, code="invalid_type")
    value = int(text)
    if value < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
        raise Refused(400, message, param=name, code="integer_below_min_value")
    if value > most:
        message = f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {value} instead."
        raise Refused(400, message, param=name, code="integer_above_max_value")
    return value


def _no_such_file(file_id: str) -> Refused:
    return Refused(404, f"No such File object: {file_id}", param="id")


def _expiry(fields: dict[str, str], now: float) -> float | None:
    """`expires_after[anchor]` and `[seconds]` (1 hour to 30 days); files for batches live 30 days without."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return now + _LIFE_SECONDS if fields.get("purpose") == "batch" else None
    return now + expiry_seconds(anchor, seconds, "expires_after")


def expiry_seconds(anchor: Any, seconds: Any, name: str) -> int:
    """Raises Refused (400)."""
    if anchor != "created_at":
        message = f"Invalid value: '{anchor}'. Supported values are: 'created_at'."
        raise Refused(400, message, param=f"{name}.anchor", code="invalid_value")
    if not str(seconds).isdecimal() or not 3600 <= int(seconds) <= _LIFE_SECONDS:
        message = f"Invalid '{name}.seconds': expected an integer from 3600 to {_LIFE_SECONDS}."
        raise Refused(400, message, param=f"{name}.seconds", code="invalid_value")
    return int(seconds)
