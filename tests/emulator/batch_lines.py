"""Input lines, uploads and waiting, through the official SDK."""

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from openai import OpenAI
from openai.types import Batch

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
EMBEDDINGS: Final = "/v1/embeddings"
ENDED = {"completed", "failed", "expired", "cancelled"}


def chat_line(custom_id: str, text: str = "hello", *, model: str = "gpt-5-mini", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {"model": model, "messages": messages, **body},
    }


def line(custom_id: str, url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def chat_lines(count: int) -> list[dict[str, Any]]:
    return [chat_line(f"row-{i}", f"message number {i}") for i in range(count)]


def jsonl(lines: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def submit(
    client: OpenAI,
    lines: Iterable[Any] | bytes,
    *,
    endpoint: Any = CHAT,
    headers: dict[str, str] | None = None,
    **params: Any,
) -> Batch:
    content = lines if isinstance(lines, bytes) else jsonl(lines)
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", extra_headers=headers, **params
    )


def ended(client: OpenAI, batch: Batch, timeout_seconds: float = 20) -> Batch:
    deadline = time.monotonic() + timeout_seconds
    while batch.status not in ENDED:
        assert time.monotonic() < deadline, batch
        batch = client.batches.retrieve(batch.id)
        if batch.status not in ENDED:
            time.sleep(0.02)
    return batch


def results(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(each) for each in client.files.content(file_id).content.splitlines()]


def content(result: dict[str, Any]) -> str:
    text: str = result["response"]["body"]["choices"][0]["message"]["content"]
    return text
