"""Mistral's `/v1/files` (mistral-openapi.yaml, read 2026-11)."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from batch_assets.emulator.downloads import download
from batch_assets.emulator.emulation import Emulation
from batch_assets.emulator.faults import Stage
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.mistral_errors import invalid, no_such, refused
from batch_assets.emulator.mistral_limits import MistralLimits, integer_query
from batch_assets.emulator.store import StoredFile
from batch_assets.emulator.uploads import BadFormError, TooLargeError, receive_form

if TYPE_CHECKING:
    from batch_assets.emulator.mistral_wire import Call

_PURPOSES = ("fine-tune", "batch", "ocr", "agentic_safety")
_LIFE_SECONDS = 30 * 86_400
_SAMPLE_TYPES = {"upload": "batch_request", "output": "batch_result", "errors": "batch_error"}
_FOREIGN_LINE = (
    b'{"id":"batch-foreign","custom_id":"foreign-0","response":{"status_code":200,"body":{"id":"foreign","object":'
    b'"chat.completion","created":0,"model":"mistral-foreign","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"not yours","tool_calls":null,"prefix":false},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,'
    b'"completion_tokens":1,"total_tokens":2}}},"error":null}'
)


class FileCalls:
    """The calls on files of one emulation."""

    def __init__(self, emulation: Emulation, provider: str, limits: Callable[[], MistralLimits]) -> None:
        self._emulation = emulation
        self._store = emulation.store
        self._provider = provider
        self._limits = limits

    async def create(self, call: "Call") -> Response:
        file_id = str(uuid.uuid4())
        partial = self._store.partial_path(file_id)
        limit = self._limits().max_file_bytes
        try:
            form = await receive_form(call.request, partial, max_bytes=limit)
            if form.filename is None:
                raise invalid("body", "file", msg="Field required", kind="missing")
            purpose = form.fields.get("purpose", "fine-tune")
            if purpose not in _PURPOSES:
                raise invalid("body", "purpose", msg=f"Input should be one of {_PURPOSES}", kind="enum")
            visibility = form.fields.get("visibility", "workspace")
            if visibility not in ("workspace", "user"):
                raise invalid("body", "visibility", msg="Input should be 'workspace' or 'user'", kind="enum")
            now = self._emulation.clock.now()
            with LineFile(partial) as lines:
                num_lines = len(lines)
            file = StoredFile(
                id=file_id,
                provider=self._provider,
                account=call.account,
                purpose=purpose,
                filename=form.filename,
                bytes=form.size,
                created_at=now,
                expires_at=now + _life_seconds(form.fields.get("expiry")),
                wire={"num_lines": num_lines, "visibility": visibility},
            )
            partial.rename(self._store.content_path(file_id))
            self._store.add_file(file)
        except BadFormError as error:
            raise invalid("body", msg=f"Could not parse the form: {error}") from None
        except TooLargeError:
            raise refused(413, f"File is too large. The maximum is {limit} bytes.") from None
        finally:
            partial.unlink(missing_ok=True)
        return JSONResponse(rendered(file))

    async def list_all(self, call: "Call") -> Response:
        query = call.request.query_params
        page = integer_query(query.get("page"), "page", default=0, least=0)
        page_size = integer_query(query.get("page_size"), "page_size", default=100, least=1, most=1000)
        files = [file for file in self._store.files(self._provider, call.account)[::-1] if self._alive(file)]
        if query.get("purpose"):
            files = [file for file in files if file.purpose == query["purpose"]]
        shown = files[page * page_size : (page + 1) * page_size]
        return JSONResponse({"data": [rendered(file) for file in shown], "object": "list", "total": len(files)})

    async def retrieve(self, call: "Call") -> Response:
        return JSONResponse({**rendered(self._find(call)), "deleted": False})

    async def delete(self, call: "Call") -> Response:
        file = self._find(call)
        self._store.delete_file(file.id)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def content(self, call: "Call") -> Response:
        file = self._find(call)
        fault = self._emulation.faults.take(self._provider, Stage.CONTENT, "files.content", call.asked, kind=file.kind)
        path = self._store.content_path(file.id)
        return download(path, size_bytes=file.bytes, filename=file.filename, fault=fault, foreign=_FOREIGN_LINE)

    def find(self, account: str, file_id: str) -> StoredFile:
        """The account's file; raises Refused (404) when it does not exist or has expired."""
        file = self._store.file(file_id)
        if file is None or file.provider != self._provider or file.account != account or not self._alive(file):
            raise no_such("File", file_id)
        return file

    def _find(self, call: "Call") -> StoredFile:
        return self.find(call.account, call.request.path_params["id"])

    def _alive(self, file: StoredFile) -> bool:
        return file.expires_at is None or self._emulation.clock.now() < file.expires_at


def rendered(file: StoredFile) -> dict[str, Any]:
    """The file object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "sample_type": _SAMPLE_TYPES[file.kind] if file.purpose == "batch" else "instruct",
        "num_lines": file.wire.get("num_lines"),
        "mimetype": "application/jsonl",
        "source": "upload" if file.kind == "upload" else "mistral",
        "signature": None,
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "visibility": file.wire.get("visibility", "workspace"),
    }


def _life_seconds(expiry_hours: str | None) -> float:
    if expiry_hours is None:
        return _LIFE_SECONDS
    if not expiry_hours.isdecimal() or int(expiry_hours) < 1:
        raise invalid("body", "expiry", msg="Input should be a valid integer", kind="int_parsing")
    return int(expiry_hours) * 3600.0
