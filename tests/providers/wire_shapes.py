"""What each provider's calls take and answer, by the SDKs' own types.

Where an SDK has no type (OpenAI's and Google's envelopes of lines and errors) the shape is written down here, from the
documents that the emulator names.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

import google.genai.types as gemini
import mistralai.client.models as mistral
import openai
import openai.types
from anthropic.types.messages import MessageBatch
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from typing_extensions import TypedDict

# ---------------------------------------------------------------- OpenAI


class OpenAILine(TypedDict):
    custom_id: str
    method: Literal["POST"]
    url: Literal["/v1/chat/completions", "/v1/responses", "/v1/embeddings"]
    body: dict[str, Any]


class OpenAIError(TypedDict):
    error: openai.types.ErrorObject


class OpenAIReply(TypedDict):
    status_code: int
    request_id: str
    body: ChatCompletion | Response | openai.types.CreateEmbeddingResponse | OpenAIError


class OpenAIUnexecuted(TypedDict):
    code: str
    message: str


class OpenAIResult(TypedDict):
    id: str
    custom_id: str
    response: OpenAIReply | None
    error: OpenAIUnexecuted | None


class OpenAIPage(TypedDict):
    object: Literal["list"]
    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


class OpenAIBatches(OpenAIPage):
    data: list[openai.types.Batch]  # type: ignore[misc]


class OpenAIFiles(OpenAIPage):
    data: list[openai.types.FileObject]  # type: ignore[misc]


# ---------------------------------------------------------------- Anthropic


class AnthropicBatches(TypedDict):
    data: list[MessageBatch]
    has_more: bool
    first_id: str | None
    last_id: str | None


class AnthropicTooLarge(TypedDict):
    """Of the page on errors; SDK 2.12 has no type of it."""

    type: Literal["request_too_large"]
    message: str


class AnthropicError(TypedDict):
    type: Literal["error"]
    error: AnthropicTooLarge
    request_id: str | None


# ---------------------------------------------------------------- Mistral


class MistralLine(TypedDict):
    custom_id: str
    body: dict[str, Any]


class MistralError(TypedDict):
    object: Literal["error"]
    message: str
    type: str
    param: str | None
    code: str | None


class MistralProblem(TypedDict):
    loc: list[str | int]
    msg: str
    type: str


class MistralDetail(TypedDict):
    detail: str | list[MistralProblem]


class MistralReply(TypedDict):
    status_code: int
    body: mistral.ChatCompletionResponse | mistral.EmbeddingResponse | MistralError | MistralDetail


class MistralResult(TypedDict):
    id: str
    custom_id: str
    response: MistralReply | None
    error: MistralError | dict[str, str] | None


# ---------------------------------------------------------------- Google


class GeminiRequest(TypedDict):
    contents: list[gemini.Content]
    systemInstruction: NotRequired[gemini.Content]
    generationConfig: NotRequired[gemini.GenerationConfig]
    safetySettings: NotRequired[list[gemini.SafetySetting]]
    labels: NotRequired[dict[str, str]]


class GeminiLine(TypedDict):
    key: str
    request: GeminiRequest


class VertexLine(TypedDict):
    request: GeminiRequest


class GoogleStatus(TypedDict):
    code: int
    message: str
    status: NotRequired[str]
    details: NotRequired[list[Any]]


class GoogleError(TypedDict):
    error: GoogleStatus


class GeminiResult(TypedDict):
    key: str
    response: NotRequired[gemini.GenerateContentResponse]
    error: NotRequired[GoogleStatus]


class VertexResult(TypedDict):
    status: str
    processed_time: str
    request: GeminiRequest
    response: gemini.GenerateContentResponse | dict[str, str]


class GeminiFile(TypedDict):
    file: NotRequired[gemini.File]  # the beginning of an upload is answered by headers


class GeminiFiles(TypedDict):
    files: NotRequired[list[gemini.File]]
    nextPageToken: NotRequired[str]


class GeminiInlined(TypedDict):
    metadata: NotRequired[dict[str, str]]
    response: NotRequired[gemini.GenerateContentResponse]
    error: NotRequired[GoogleStatus]


class GeminiOutput(TypedDict):
    responsesFile: NotRequired[str]
    inlinedResponses: NotRequired[dict[Literal["inlinedResponses"], list[GeminiInlined]]]


GeminiStats = TypedDict(
    "GeminiStats",
    dict.fromkeys(("requestCount", "successfulRequestCount", "failedRequestCount", "pendingRequestCount"), str),
    total=False,
)
GeminiJob = TypedDict(
    "GeminiJob",
    {
        "@type": str,
        "name": str,
        "model": str,
        "displayName": str,
        "inputConfig": dict[str, Any],
        "output": NotRequired[GeminiOutput],
        "createTime": str,
        "endTime": NotRequired[str],
        "updateTime": str,
        "batchStats": GeminiStats,
        "state": Literal[
            "BATCH_STATE_PENDING",
            "BATCH_STATE_RUNNING",
            "BATCH_STATE_SUCCEEDED",
            "BATCH_STATE_FAILED",
            "BATCH_STATE_CANCELLED",
            "BATCH_STATE_EXPIRED",
        ],
    },
)


class GeminiOperation(TypedDict):
    name: str
    metadata: GeminiJob
    done: NotRequired[bool]
    response: NotRequired[dict[str, Any]]
    error: NotRequired[GoogleStatus]


class GeminiOperations(TypedDict):
    operations: NotRequired[list[GeminiOperation]]
    nextPageToken: NotRequired[str]


class GcsSource(TypedDict):
    uris: list[str]


class GcsInput(TypedDict):
    instancesFormat: Literal["jsonl"]
    gcsSource: GcsSource


class GcsDestination(TypedDict):
    outputUriPrefix: str


class GcsOutput(TypedDict):
    predictionsFormat: Literal["jsonl"]
    gcsDestination: GcsDestination


class VertexJob(TypedDict):
    """`BatchJob` of the SDK, with input and output as they are on the wire (aiplatform v1, revision of 2026-11-06)."""

    name: str
    displayName: str
    model: str
    inputConfig: GcsInput
    outputConfig: GcsOutput
    labels: NotRequired[dict[str, str]]
    state: gemini.JobState
    error: NotRequired[gemini.JobError]
    partialFailures: NotRequired[list[GoogleStatus]]
    completionStats: NotRequired[gemini.CompletionStats]
    outputInfo: NotRequired[dict[Literal["gcsOutputDirectory"], str]]
    createTime: str
    startTime: NotRequired[str]
    endTime: NotRequired[str]
    updateTime: str


class VertexJobs(TypedDict):
    batchPredictionJobs: NotRequired[list[VertexJob]]
    nextPageToken: NotRequired[str]


class Empty(TypedDict):
    pass


_INT64 = ("sizeBytes", "successfulCount", "failedCount", "incompleteCount", "successfulForecastPointCount")


def numbered(value: Any) -> Any:
    """64-bit integers, which JSON of protocol buffers writes as texts, as the numbers that the SDK makes of them."""
    if isinstance(value, list):
        return [numbered(each) for each in value]
    if not isinstance(value, dict):
        return value
    whole = {name for name in _INT64 if isinstance(value.get(name), str)}
    return {name: int(each) if name in whole else numbered(each) for name, each in value.items()}
