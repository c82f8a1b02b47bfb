"""Every error of the project, classed by what the caller may do about it.

A message names the culprit (row, column, setting, object) and the cure. Ids are attributes, not only words.
Secrets never appear in one.
"""

from __future__ import annotations


class BatchAssetsError(Exception):
    """Base of every error raised on purpose."""


# ---------------------------------------------------------------- what a person must change


class ConfigError(BatchAssetsError):
    """A setting is wrong: the message names it and what to write instead.

    `at` are the keys that lead to it where it stands inside another one.
    """

    def __init__(self, message: str, *, at: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.at = at


class PromptError(ConfigError):
    """A prompt template cannot be compiled, or uses a column that the rows do not have."""


class SchemaError(ConfigError):
    """An output type cannot be expressed for the provider or in Arrow; names the field."""


class InputError(BatchAssetsError):
    """The rows of a partition cannot be planned (row keys, column clashes); names the first offenders."""


class PlanRefused(BatchAssetsError):
    """A plan was refused before anything was sent (over budget); carries the reason, with the figures."""


# ---------------------------------------------------------------- the store


class StoreError(BatchAssetsError):
    """The store cannot be read or written; names the object."""

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class CorruptObject(StoreError):
    """An object in the store is not what its name says: it is named, and never overwritten."""


class UnknownFormat(StoreError):
    """The store was written by a newer version of batch_assets."""


class UnknownTransition(BatchAssetsError):
    """A (state, event) pair that the lifecycle table does not hold: a bug, never a guess."""


# ---------------------------------------------------------------- a provider's answer


class ProviderError(BatchAssetsError):
    """Base of what an adapter may raise about a call to its provider.

    `provider` is the adapter's key; `status` the HTTP status if there was one; `code` the provider's own error code.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.code = code


class Transient(ProviderError):
    """The call did nothing and may be made again (a 429, or any failure of a call that only reads).

    `retry_after_seconds` is what the provider asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]  # the keywords are ProviderError's
        self.retry_after_seconds = retry_after_seconds


class QueueFull(Transient):
    """The provider's queue limit is reached: the shard waits its turn, and no attempt is counted."""


class Terminal(ProviderError):
    """The call did nothing and will do nothing until something is changed."""


class Blocked(Terminal):
    """The account cannot submit now (401, 402, 403, unknown model, quota): it waits, with a reason.

    `whole_account` is False where only this model is out of reach.
    """

    def __init__(self, message: str, *, whole_account: bool = True, **kwargs: object) -> None:
        super().__init__(message, **kwargs)  # type: ignore[arg-type]  # the keywords are ProviderError's
        self.whole_account = whole_account


class Refused(Terminal):
    """The provider definitely refused this input (a 4xx with its own error body)."""


class NotFound(Terminal):
    """The provider does not know the object (404)."""


class Ambiguous(ProviderError):
    """A create call whose outcome is unknown: it is settled by looking, never by sending again."""


class UnknownStatus(ProviderError):
    """A batch status that the adapter does not know, with the provider's raw text: never "still running"."""

    def __init__(self, raw: str, *, provider: str, batch_id: str) -> None:
        super().__init__(
            f"{provider} reports an unknown status {raw!r} for batch {batch_id}; this version of batch_assets does not "
            "know whether that batch still runs. Upgrade batch_assets, or look at the batch in the provider's console.",
            provider=provider,
        )
        self.raw = raw
        self.batch_id = batch_id
