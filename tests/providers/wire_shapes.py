"""What each provider's calls take and answer, by the SDKs' own types.

Where an SDK has no type (OpenAI's and Google's envelopes of lines and errors) the shape is written down here, from the
documents that the emulator names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired

import anthropic.types
import google.genai.types as gemini
import mistralai.client.models as mistral
import openai
import openai.types
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request as AnthropicRequest
from google.oauth2.credentials import Credentials
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses import Response
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from typing_extensions import TypedDict

from batch_assets.emulator import Emulator
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.vertex import VertexProvider

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


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Rule:
    """What a call answers: one value of a type, or lines of one."""

    call: str
    """`METHOD path`, a regular expression."""
    kind: Any
    lines: bool = False


@dataclass(frozen=True)
class Wire:
    """One provider."""

    model: str
    provide: Callable[[Emulator], Any]
    line: Any
    bodies: Callable[[dict[str, Any]], list[tuple[Any, Any]]]
    """The bodies of a line, each with its type."""
    rules: Sequence[Rule]
    errors: Sequence[Any]
    endpoints: Sequence[str] = ("chat",)
    direct: Sequence[Callable[[Any], object]] = ()
    """Calls of endpoints without a batch."""
    ignored: str = r"nothing"
    """Calls that are not the provider's: of the bucket."""


OPENAI_BODIES = {
    "/v1/chat/completions": CompletionCreateParamsNonStreaming,
    "/v1/responses": ResponseCreateParamsNonStreaming,
    "/v1/embeddings": EmbeddingCreateParams,
}
_ID = r"[\w-]+"


def _openai(emulator: Emulator) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", base_url=emulator.openai_base_url, max_retries=0)


WIRES: dict[str, Wire] = {
    "openai": Wire(
        model="gpt-5-mini",
        provide=lambda emulator: OpenAIProvider(api_key="k", base_url=emulator.openai_base_url, max_retries=0),
        line=OpenAILine,
        bodies=lambda line: [(line["body"], OPENAI_BODIES[line["url"]])],
        rules=[
            Rule(r"POST /v1/files", openai.types.FileObject),
            Rule(r"GET /v1/files", OpenAIFiles),
            Rule(rf"DELETE /v1/files/{_ID}", openai.types.FileDeleted),
            Rule(rf"GET /v1/files/{_ID}/content", OpenAIResult, lines=True),
            Rule(r"POST /v1/batches", openai.types.Batch),
            Rule(r"GET /v1/batches", OpenAIBatches),
            Rule(rf"GET /v1/batches/{_ID}", openai.types.Batch),
            Rule(rf"POST /v1/batches/{_ID}/cancel", openai.types.Batch),
            Rule(r"POST /v1/chat/completions", ChatCompletion),
            Rule(r"POST /v1/responses", Response),
            Rule(r"POST /v1/embeddings", openai.types.CreateEmbeddingResponse),
        ],
        errors=[OpenAIError],
        endpoints=("chat", "responses", "embeddings"),
        direct=[
            lambda emulator: _openai(emulator).chat.completions.create(
                model="gpt-5-mini", messages=[{"role": "user", "content": "Where is it?"}]
            ),
            lambda emulator: _openai(emulator).responses.create(model="gpt-5-mini", input="Where is it?"),
            lambda emulator: _openai(emulator).embeddings.create(
                model="text-embedding-3-small", input="Where is it?", encoding_format="float"
            ),
        ],
    ),
    "anthropic": Wire(
        model="claude-haiku-4-5",
        provide=lambda emulator: AnthropicProvider(api_key="k", base_url=emulator.anthropic_base_url, max_retries=0),
        line=AnthropicRequest,
        bodies=lambda _: [],
        rules=[
            Rule(r"POST /v1/messages/batches", MessageBatch),
            Rule(r"GET /v1/messages/batches", AnthropicBatches),
            Rule(rf"GET /v1/messages/batches/{_ID}", MessageBatch),
            Rule(rf"POST /v1/messages/batches/{_ID}/cancel", MessageBatch),
            Rule(rf"GET /v1/messages/batches/{_ID}/results", MessageBatchIndividualResponse, lines=True),
        ],
        errors=[AnthropicError, anthropic.types.ErrorResponse],
    ),
    "mistral": Wire(
        model="mistral-small-2603",
        provide=lambda emulator: MistralProvider(api_key="k", server_url=emulator.mistral_server_url, max_retries=0),
        line=MistralLine,
        bodies=lambda line: [
            (
                {"model": "named by the job", **line["body"]},
                mistral.ChatCompletionRequest if "messages" in line["body"] else mistral.EmbeddingRequest,
            )
        ],
        rules=[
            Rule(r"POST /v1/files", mistral.CreateFileResponse),
            Rule(r"GET /v1/files", mistral.ListFilesResponse),
            Rule(rf"DELETE /v1/files/{_ID}", mistral.DeleteFileResponse),
            Rule(rf"GET /v1/files/{_ID}/content", MistralResult, lines=True),
            Rule(r"POST /v1/batch/jobs", mistral.BatchJob),
            Rule(r"GET /v1/batch/jobs", mistral.ListBatchJobsResponse),
            Rule(rf"GET /v1/batch/jobs/{_ID}", mistral.BatchJob),
            Rule(rf"POST /v1/batch/jobs/{_ID}/cancel", mistral.BatchJob),
        ],
        errors=[MistralError, MistralDetail],
        endpoints=("chat", "embeddings"),
    ),
    "gemini": Wire(
        model="gemini-3-flash-preview",
        provide=lambda emulator: GeminiProvider(
            api_key="k", base_url=emulator.gemini_base_url, max_retries=0, inline_bytes=0
        ),
        line=GeminiLine,
        bodies=lambda _: [],
        rules=[
            Rule(r"POST /upload/v1beta/files", GeminiFile),
            Rule(r"GET /v1beta/files", GeminiFiles),
            Rule(rf"DELETE /v1beta/files/{_ID}", Empty),
            Rule(rf"GET /v1beta/files/{_ID}:download", GeminiResult, lines=True),
            Rule(r"POST /v1beta/models/[\w.-]+:batchGenerateContent", GeminiOperation),
            Rule(r"GET /v1beta/batches", GeminiOperations),
            Rule(rf"GET /v1beta/batches/{_ID}", GeminiOperation),
            Rule(rf"POST /v1beta/batches/{_ID}:cancel", Empty),
        ],
        errors=[GoogleError],
    ),
    "vertex": Wire(
        model="gemini-3-flash-preview",
        provide=lambda emulator: VertexProvider(
            project="my-project",
            location="europe-west4",
            gcs_folder="gs://bucket/batches",
            credentials=Credentials(token="k"),
            base_url=emulator.vertex_base_url,
            max_retries=0,
        ),
        line=VertexLine,
        bodies=lambda _: [],
        rules=[
            Rule(r"POST .*/batchPredictionJobs", VertexJob),
            Rule(r"GET .*/batchPredictionJobs", VertexJobs),
            Rule(rf"GET .*/batchPredictionJobs/{_ID}", VertexJob),
            Rule(rf"POST .*/batchPredictionJobs/{_ID}:cancel", Empty),
            Rule(r"GET /download/storage/v1/b/bucket/o/.*predictions.*", VertexResult, lines=True),
        ],
        errors=[GoogleError],
        ignored=r"\w+ /(?:storage|upload/storage|download/storage)/",
    ),
}
_GEMINI = WIRES["gemini"]
WIRES["gemini, inline"] = replace(
    _GEMINI,
    provide=lambda emulator: GeminiProvider(api_key="k", base_url=emulator.gemini_base_url, max_retries=0),
    rules=[rule for rule in _GEMINI.rules if rule.kind not in (GeminiResult, GeminiFile) and "DELETE" not in rule.call],
)
