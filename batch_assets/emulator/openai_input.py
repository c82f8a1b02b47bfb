"""Validation of a batch's input file, as OpenAI does it after the create call was answered.

What is wrong makes the batch `failed`, with `errors.data[{code, line, message, param}]`. The codes are those of the
Batch guides (OpenAI, Azure OpenAI; read 2026-11); several messages are paraphrased from reports of users.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from batch_assets.emulator.batches import Problem
from batch_assets.emulator.lines import LineFile
from batch_assets.emulator.openai_requests import EMBEDDINGS
from batch_assets.emulator.wire import Verdict

_MOST_PROBLEMS = 100
_KEYS = ("custom_id", "method", "url", "body")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAILimits:
    """Bounds per batch and account (Batch guide, read 2026-11); tests lower them through the control endpoint."""

    max_requests: int = 50_000
    max_bytes: int = 200 * 1024 * 1024
    max_embedding_inputs: int = 50_000
    max_file_bytes: int = 512 * 1024 * 1024
    batches_per_hour: int = 2_000
    enqueued_tokens: int | None = None  # per model, over the open batches; counted as bytes of the input / 4
    enqueued_tokens_refuse: bool = False  # True: a 429 at create; False: the batch fails later
    models: list[str] | None = None  # None: any that does not begin with "nonexistent"

    def knows(self, model: str) -> bool:
        return not model.startswith("nonexistent") if self.models is None else model in self.models


@dataclass(slots=True)
class _Check:
    """One pass over an input."""

    endpoint: str
    limits: OpenAILimits
    problems: list[Problem] = field(default_factory=list)
    model: str | None = None
    embedding_inputs: int = 0
    seen: set[int] = field(default_factory=set)

    def line(self, number: int, raw: bytes) -> None:
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            self._problem("invalid_json_line", "This line is not parseable as valid JSON.", number)
            return
        if not isinstance(line, dict):
            self._problem("invalid_json_line", "This line is not a JSON object.", number)
            return
        for key in _KEYS:
            if line.get(key) is None:
                self._problem("missing_required_parameter", f"Missing required parameter: '{key}'.", number, key)
                return
        self._request(number, line)

    def _request(self, number: int, line: dict[str, Any]) -> None:
        custom_id, body = line["custom_id"], line["body"]
        if not isinstance(custom_id, str) or not isinstance(body, dict):
            param = "body" if isinstance(custom_id, str) else "custom_id"
            self._problem("invalid_type", f"Invalid type for '{param}'.", number, param)
            return
        if line["method"] != "POST":
            self._problem("invalid_method", "The method of a request must be 'POST'.", number, "method")
        if line["url"] != self.endpoint:
            message = f"The URL '{line['url']}' does not match the batch endpoint '{self.endpoint}'."
            self._problem("url_mismatch", message, number, "url")
        key = hash(custom_id)
        if key in self.seen:
            message = (
                f"The custom_id '{custom_id}' for this request is a duplicate of another request. The custom_id "
                "parameter must be unique for each request in a batch."
            )
            self._problem("duplicate_custom_id", message, number, "custom_id")
        self.seen.add(key)
        self._model(number, body)
        if self.endpoint == EMBEDDINGS:
            given = body.get("input")
            self.embedding_inputs += len(given) if isinstance(given, list) else 1

    def _model(self, number: int, body: dict[str, Any]) -> None:
        model = body.get("model")
        if not isinstance(model, str):
            return  # that request alone will be answered with an error
        if self.model is None:
            self.model = model
            if not self.limits.knows(model):
                message = f"The provided model '{model}' is not supported by the Batch API."
                self._problem("model_not_found", message, number, "body.model")
        elif model != self.model:
            message = (
                f"The provided model '{model}' doesn't match the rest of the batch '{self.model}'. Each batch must "
                "contain requests for a single model."
            )
            self._problem("model_mismatch", message, number, "body.model")

    def _problem(self, code: str, message: str, line: int, param: str | None = None) -> None:
        self.problems.append(Problem(code=code, message=message, line=line, param=param))


def check_input(lines: LineFile, endpoint: str, limits: OpenAILimits) -> Verdict:
    """Every problem of the input, up to 100, and its model."""
    if not len(lines):
        return _failed("empty_file", "The input file is empty. Please ensure that it has at least one request.")
    if lines.total_bytes > limits.max_bytes:
        return _failed("file_too_large", f"The input file is larger than the {limits.max_bytes} bytes allowed.")
    if len(lines) > limits.max_requests:
        return _failed(
            "too_many_tasks", f"The number of requests in the batch exceeds the limit {limits.max_requests}."
        )
    check = _Check(endpoint=endpoint, limits=limits)
    for number, raw in enumerate(lines, start=1):
        check.line(number, raw)
        if len(check.problems) >= _MOST_PROBLEMS:
            break
    if not check.problems and check.embedding_inputs > limits.max_embedding_inputs:
        return _failed("too_many_tasks", f"The batch has more than {limits.max_embedding_inputs} embedding inputs.")
    return Verdict(problems=check.problems, model=check.model)


def _failed(code: str, message: str) -> Verdict:
    return Verdict(problems=[Problem(code=code, message=message)])
