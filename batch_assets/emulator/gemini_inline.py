"""Requests of the Gemini API that come with the create call, and their results within the batch.

Facts (v1beta reference "batch-mode" and guide, read 2026-11): up to 20 MB; a result has the `metadata` of its request,
and the place of its request in the list.
"""

from pathlib import Path
from typing import Any

import orjson

from batch_assets.emulator.gemini_errors import GoogleRefused

MAX_BYTES = 20 * 1024 * 1024


def requests_of(config: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The inlined requests of an `inputConfig`; None if it has a file. Raises GoogleRefused."""
    if "requests" not in config:
        return None
    found = config["requests"]
    found = found.get("requests") if isinstance(found, dict) else None
    if not isinstance(found, list) or not found:
        raise GoogleRefused(400, "* GenerateContentBatch.input_config.requests: at least one request is required.")
    for each in found:
        if not isinstance(each, dict) or not isinstance(each.get("request"), dict):
            raise GoogleRefused(400, "Invalid JSON payload received. An inlined request has no `request`.")
        if not isinstance(each.get("metadata", {}), dict):
            raise GoogleRefused(400, "Invalid JSON payload received. `metadata` of a request is an object.")
    return found


def write(requests: list[dict[str, Any]], path: Path) -> None:
    """One line for each request, with its place."""
    with path.open("wb") as target:
        for place, each in enumerate(requests):
            line = {"place": place, "metadata": each.get("metadata"), "request": each["request"]}
            target.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def result_line(given: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one result until the batch is read; `answer` is {response} or {error}."""
    metadata = {} if given.get("metadata") is None else {"metadata": given["metadata"]}
    return {"place": given["place"], **answer, **metadata}


def inlined_responses(path: Path) -> list[dict[str, Any]]:
    """The results in the order of their requests."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [
        {key: line[key] for key in line if key != "place"} for line in sorted(lines, key=lambda line: line["place"])
    ]
