"""A result file on its way to the client, whole or as a fault leaves it."""

from pathlib import Path

from starlette.responses import Response, StreamingResponse

from batch_assets.emulator import breakage, spoil
from batch_assets.emulator.faults import Fault

_MEDIA_TYPE = "application/octet-stream"


def download(path: Path, *, size_bytes: int, filename: str, fault: Fault | None, foreign: bytes) -> Response:
    """The content of the file, spoiled by `fault`; `foreign` is a line of somebody else's."""
    headers = {"content-disposition": f'attachment; filename="{filename.encode("ascii", "replace").decode()}"'}
    if fault is not None and fault.fault != "cut":
        chunks = spoil.spoiled(path, fault, foreign=foreign)
        return StreamingResponse(chunks, media_type=_MEDIA_TYPE, headers=headers)
    headers["content-length"] = str(size_bytes)
    if fault is None:
        return StreamingResponse(spoil.blocks(path), media_type=_MEDIA_TYPE, headers=headers)
    chunks = breakage.first_bytes(spoil.blocks(path), min(int(fault.params["after_bytes"]), size_bytes - 1))
    return breakage.CutStream(chunks, media_type=_MEDIA_TYPE, headers=headers)
