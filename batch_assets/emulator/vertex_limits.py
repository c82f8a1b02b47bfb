"""Bounds of Vertex AI's batch prediction for Gemini; tests lower them through the control endpoint."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexLimits:
    """Per job (notes of users, read 2026-11). `output_shards`: into how many files the predictions are split."""

    max_requests: int = 200_000
    max_bytes: int = 1_000_000_000
    output_shards: int = 2
    window_seconds: float = 96 * 3600.0  # up to 72 h queued, then canceled after 24 h of running
