"""What a batch asset is to the engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import orjson

from batch_assets import tables
from batch_assets.errors import ConfigError, InputError
from batch_assets.schema import RESERVED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from batch_assets.prompts import Prompt
    from batch_assets.records import Request
    from batch_assets.schema import OutputSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSpec:
    """The definition of one batch asset, checked as far as it can be without rows."""

    asset: str
    """Its key, the parts joined by `/`."""
    provider: str
    """Key of the provider's resource."""
    request: Request
    prompt: Prompt
    schema: OutputSchema
    row_key: str
    output_columns: tuple[str, ...] | None = None
    """Source columns that go to the output besides the row key; None for all but those of `reads_batch_table`."""
    reads_batch_table: bool = False
    """The rows come from another batch asset: what that one added to its table (`batch_outcome`, ...) is left out.

    Rows that come with the metadata of such a table are known as such without it.
    """
    max_cost_usd: Decimal | None = None
    max_attempts: int = 3
    """How often a request may be sent in one generation."""
    pricing: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The user's own rates by model, in USD per million tokens."""
    on_change: Literal["finish", "cancel"] = "finish"
    on_ambiguous: Literal["hold", "resubmit", "fail"] = "hold"

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigError(f"{self.asset}: `max_attempts` is {self.max_attempts}; at least one attempt is needed")
        if self.max_cost_usd is not None and self.max_cost_usd <= 0:
            raise ConfigError(f"{self.asset}: `max_cost_usd` is {self.max_cost_usd}; write a positive number of USD")
        self._check_endpoint()
        if self.output_columns is not None:
            self.check_columns(self.output_columns)
        if self.row_key in self.schema.fields.names:
            raise ConfigError(
                f"{self.asset}: the row key {self.row_key!r} is also a field of the output type; rename the field"
            )

    def _check_endpoint(self) -> None:
        """Raise ConfigError for what cannot be set with the endpoint `embeddings`, which answers with a vector."""
        request = self.request
        if request.endpoint != "embeddings":
            if self.schema.is_embedding:
                raise ConfigError(f'{self.asset}: a vector is the answer of `endpoint="embeddings"` only; set that')
            return
        refused = {
            "output_type": not self.schema.is_embedding,
            "system": request.system is not None or self.prompt.system is not None,
            "max_output_tokens": request.max_output_tokens is not None,
        }
        for setting in (name for name, is_set in refused.items() if is_set):
            raise ConfigError(
                f'{self.asset}: `{setting}` is set, and `endpoint="embeddings"` has no use for it: the answer is a '
                "vector in the column `embedding`; leave it out"
            )

    @property
    def code_version(self) -> str:
        """Changes when the prompt, the model, its parameters or the output type do."""
        facts = {
            "prompt": self.prompt.identity,
            "model": self.request.model,
            "endpoint": self.request.endpoint,
            "params": self.request.params,
            "system": self.request.system,
            "max_output_tokens": self.request.max_output_tokens,
            "schema": self.schema.identity,
        }
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def check_columns(self, source: Sequence[str]) -> None:
        """Raise ConfigError where a source column and a column of the output would have one name."""
        reserved = sorted(name for name in source if name.startswith(RESERVED_PREFIX))
        if reserved:
            raise ConfigError(
                f"{self.asset}: the source columns {reserved} start with {RESERVED_PREFIX!r}, which is kept for the "
                "columns that batch_assets adds; rename them, or leave them out: `output_columns` names those to keep"
            )
        clash = sorted(set(source) & set(self.schema.fields.names))
        if clash:
            raise ConfigError(
                f"{self.asset}: {clash} are both source columns and fields of the output type; rename the fields, or "
                "leave the source columns out with `output_columns`"
            )

    def kept_columns(self, rows: pa.Schema) -> list[str]:
        """The source columns of the output, the row key among them. Raises InputError for one that is not there."""
        source = list(rows.names)
        repeated = sorted({name for name in source if source.count(name) > 1})
        if repeated:
            raise InputError(
                f"{self.asset}: the rows have several columns named {repeated}; rename all but one of each"
            )
        if self.row_key not in source:
            raise InputError(
                f"{self.asset}: the row key {self.row_key!r} is not a column of the rows, which have {list(source)}; "
                "set `row_key` to one of them"
            )
        if self.output_columns is None:
            from_batch = self.reads_batch_table or tables.LEDGER in (rows.metadata or {})
            kept = [name for name in source if not (from_batch and name in tables.OUTPUT.names)]
        else:
            missing = [name for name in self.output_columns if name not in source]
            if missing:
                raise InputError(
                    f"{self.asset}: `output_columns` names {missing}, and the rows have {list(source)}; name columns "
                    "that are there"
                )
            kept = [name for name in source if name in {*self.output_columns, self.row_key}]
        self.check_columns(kept)
        return kept
