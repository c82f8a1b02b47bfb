"""The providers' wires: how each is reached, and what its calls take and answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anthropic.types
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
from wire_shapes import (
    AnthropicBatches,
    AnthropicError,
    Empty,
    GeminiFile,
    GeminiFiles,
    GeminiLine,
    GeminiOperation,
    GeminiOperations,
    GeminiResult,
    GoogleError,
    MistralDetail,
    MistralError,
    MistralLine,
    MistralResult,
    OpenAIBatches,
    OpenAIError,
    OpenAIFiles,
    OpenAILine,
    OpenAIResult,
    VertexJob,
    VertexJobs,
    VertexLine,
    VertexResult,
)

from batch_assets.emulator import Emulator
from batch_assets.providers.anthropic import AnthropicProvider
from batch_assets.providers.gemini import GeminiProvider
from batch_assets.providers.mistral import MistralProvider
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.vertex import VertexProvider


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
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters by endpoint, which stand beside those that the adapter sets."""
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
        params={
            "chat": {"stream": None, "n": 1, "verbosity": "low", "service_tier": None},
            "responses": {"stream": False, "background": False, "text": {"verbosity": "low"}},
            "embeddings": {"encoding_format": "float", "dimensions": 8},
        },
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
        params={"chat": {"stream": False, "output_config": {"effort": "low"}}},
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
        params={"chat": {"stream": False, "n": 1}, "embeddings": {"encoding_format": "float", "output_dtype": "float"}},
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
        params={"chat": {"candidateCount": 1, "responseModalities": ["TEXT"]}},
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
