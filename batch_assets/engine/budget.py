"""Tokens and dollars of a plan before anything is sent, from a sample and the exact bytes of its requests."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import orjson

from batch_assets.pricing import Estimate, resolve_rates
from batch_assets.records import EstimateRecord
from batch_assets.tokens import MESSAGE_TOKENS, REPLY_TOKENS, UPPER_FACTOR, TokenEstimator, estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from batch_assets.engine.spec import AssetSpec
    from batch_assets.records import Calibration, Request


class Budget:
    """Adds up what the requests of a plan are expected to cost."""

    SAMPLE: ClassVar[int] = 200
    """Requests whose text is looked at, to learn how many tokens a byte makes."""

    def __init__(
        self,
        spec: AssetSpec,
        vendor: str,
        assumed_discount: Decimal | None,
        *,
        realtime: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        """`calibration` is what an earlier night of the same definition has taught."""
        self._spec = spec
        request = spec.request
        self._rates = resolve_rates(
            vendor,
            request.model,
            datetime.now(UTC),
            pricing=spec.pricing,
            assumed_batch_discount=assumed_discount,
            realtime=realtime,
            embeddings=request.endpoint == "embeddings",
        )
        self._constant = _constant_tokens(request)
        self._calibration = calibration
        self._per_byte: float | None = None
        self._media = False
        self._total = self._of(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        self._most = self._total

    def add(
        self, sample: Sequence[bytes], sizes: NDArray[np.int64], media_tokens: NDArray[np.int64], *, under_way: bool
    ) -> None:
        """Add requests: the contents of some of them; of all, the bytes of text and the tokens of images and PDFs.

        Those that earlier batches hold cost nothing if these succeed; the bound takes them as bought again.
        """
        if self._per_byte is None:
            texts = [content for content in sample if content.startswith(b'"')]  # the others hold more than text
            self._per_byte = TokenEstimator.from_contents(texts).tokens_per_byte
        tokens = self._constant + np.ceil(sizes * self._per_byte).astype(np.int64) + media_tokens
        tokens = np.ceil(tokens * self._factor).astype(np.int64)
        self._media |= bool(media_tokens.any())
        part = self._of(tokens, np.ceil(tokens * UPPER_FACTOR).astype(np.int64))
        self._most += part
        if not under_way:
            self._total += part

    def input_tokens(self, text_bytes: int, requests: int, media_tokens: int) -> int:
        """Input tokens of requests with these together, rounded up: what counts against a queue."""
        tokens = text_bytes * (self._per_byte or 1.0) + requests * self._constant + media_tokens
        return math.ceil(tokens * self._factor * UPPER_FACTOR)

    @property
    def _factor(self) -> float:
        return self._calibration.input_factor if self._calibration is not None else 1.0

    def estimate(self) -> EstimateRecord:
        """What all of them are expected to cost."""
        total = self._total
        return EstimateRecord(
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            usd=total.usd,
            standard_usd=total.standard_usd,
            max_usd=self._most.max_usd,
            rate_source=total.rate_source,
            calibrated=self._calibration is not None,
        )

    def refusal(self, estimate: EstimateRecord) -> str | None:
        """Why nothing of the plan may be sent; None if it may. A hard bound counts where there is one."""
        budget = self._spec.max_cost_usd
        if budget is None or self._total.requests == 0:
            return None
        bound = estimate.max_usd if estimate.max_usd is not None else estimate.usd
        model = self._spec.request.model
        if bound is None:
            return (
                f"`max_cost_usd` is ${budget}, and no price of {model!r} is known: set `pricing` for it, or leave "
                "`max_cost_usd` out. Nothing was sent"
            )
        if bound <= budget:
            return None
        sort = "at most" if estimate.max_usd is not None and not self._media else "an estimated"
        return (
            f"{self._total.requests:,} requests to {model} would cost {sort} ${bound:.4f} "
            f"({estimate.input_tokens:,} input and {estimate.output_tokens:,} output tokens, rates "
            f"{estimate.rate_source}), above `max_cost_usd` of ${budget}. Nothing was sent. Raise `max_cost_usd`, "
            "lower `max_output_tokens`, or plan fewer rows"
        )

    def _of(self, tokens: NDArray[np.int64], upper: NDArray[np.int64]) -> Estimate:
        request = self._spec.request
        return Estimate.of(
            self._rates,
            input_tokens=tokens,
            upper_input_tokens=upper,
            expected_output_tokens=None if self._calibration is None else round(self._calibration.output_tokens),
            max_output_tokens=0 if request.endpoint == "embeddings" else request.max_output_tokens,
        )


def _constant_tokens(request: Request) -> int:
    """Input tokens that every request has beside its content: system text, schema, framing."""
    if request.endpoint == "embeddings":
        return 0
    system = estimate_tokens(request.system) + MESSAGE_TOKENS if request.system else 0
    schema = ""
    if request.json_schema:
        schema = orjson.dumps({"name": request.schema_name, "schema": request.json_schema}).decode()
    return system + estimate_tokens(schema) + MESSAGE_TOKENS + REPLY_TOKENS
