"""The baseline: the loop that people write with `json`, pandas and pydantic, everything in memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from benchmarks import data
from benchmarks.measure import measured


def plan(rows: int, folder: Path) -> None:
    """A request line for every row of a DataFrame."""
    frame = pd.concat([batch.to_pandas() for batch in data.batches(rows)], ignore_index=True)
    schema = data.Triage.model_json_schema()
    with measured():
        lines = []
        for number, row in frame.iterrows():
            body = {
                "model": "gpt-5-mini",
                "messages": [
                    {"role": "system", "content": data.SYSTEM},
                    {"role": "user", "content": data.PROMPT.replace("{{ text }}", row["text"])},
                ],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "Triage", "strict": True, "schema": schema},
                },
                "max_completion_tokens": 200,
            }
            lines.append(
                json.dumps(
                    {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
                )
            )
        (folder / "input.jsonl").write_text("\n".join(lines))


def collect(rows: int, folder: Path) -> None:
    """Read result lines, validate each response, join them to the rows, write the Parquet file."""
    frame = pd.concat([batch.to_pandas() for batch in data.batches(rows)], ignore_index=True)
    with measured():
        results = {}
        for line in (folder / "output.jsonl").read_text().splitlines():
            result = json.loads(line)
            body = result["response"]["body"]
            parsed = data.Triage.model_validate_json(body["choices"][0]["message"]["content"])
            results[result["custom_id"]] = {**parsed.model_dump(), "tokens": body["usage"]["total_tokens"]}
        answers = pd.DataFrame([results[f"request-{number}"] for number in range(len(frame))])
        pd.concat([frame, answers], axis=1).to_parquet(folder / "table.parquet")


def fake_results(rows: int, folder: Path) -> None:
    """Result lines as the provider gives them, for `collect`."""
    with (folder / "output.jsonl").open("w", encoding="utf-8") as file:
        for number in range(rows):
            answer = {"intent": "card", "urgency": 3, "reason": f"The customer asks about a card, number {number}."}
            body = {
                "id": f"chatcmpl-{number:024}",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-5-mini",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": json.dumps(answer), "refusal": None},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340},
            }
            response = {"status_code": 200, "request_id": f"req-{number:024}", "body": body}
            line = {"id": f"batch_req_{number}", "custom_id": f"request-{number}", "response": response, "error": None}
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    {"plan": plan, "collect": collect, "fake_results": fake_results}[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
