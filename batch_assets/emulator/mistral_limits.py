"""Mistral's bounds, as far as its docs tell them (they contradict each other; read 2026-11)."""

from dataclasses import dataclass

from batch_assets.emulator.mistral_errors import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class MistralLimits:
    """Bounds per job and workspace; tests lower them through the control endpoint."""

    max_requests: int = 100_000  # "known limitations"; the FAQ has none per job
    max_bytes: int = 512 * 1024 * 1024  # of a job's input: the docs bound a file only
    max_inline_requests: int = 10_000
    pending_requests: int = 1_000_000  # FAQ, per workspace
    max_file_bytes: int = 512 * 1024 * 1024
    results_kept_seconds: float = 86_400.0  # "known limitations": 24 h; the FAQ: for ever
    errors_in_output: bool = False  # True: error lines stand in the output file; the SDK reads both ways
    models: list[str] | None = None  # None: any that does not begin with "nonexistent"

    def knows(self, model: str) -> bool:
        return not model.startswith("nonexistent") if self.models is None else model in self.models


def integer_query(text: str | None, name: str, *, default: int, least: int, most: int | None = None) -> int:
    """A query parameter; raises Refused (422)."""
    if text is None:
        return default
    if not text.lstrip("-").isdecimal():
        raise invalid("query", name, msg="Input should be a valid integer", kind="int_parsing")
    value = int(text)
    if value < least or (most is not None and value > most):
        raise invalid("query", name, msg=f"Input should be from {least} to {most}")
    return value
