"""Hosts that speak OpenAI's batch API: Azure OpenAI, Groq, Doubleword, a gateway of your own, ...

What differs is data, see openai_dialects; the SDK and the wire are OpenAI's. No environment variable of OpenAI's own
is used: its key, organization and project never go to another host.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai

from batch_assets.errors import ConfigError
from batch_assets.providers.openai import OpenAIProvider
from batch_assets.providers.openai_dialects import PRESETS, OpenAIDialect
from batch_assets.providers.openai_differences import declared

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from batch_assets.admission import QueueLimits
    from batch_assets.providers.openai_differences import Differences

_NO_KEY = "none"


class OpenAICompatibleProvider(OpenAIProvider):
    """One account at a host that speaks OpenAI's batch API."""

    presets: Mapping[str, OpenAIDialect] = PRESETS

    def __init__(
        self,
        *,
        dialect: OpenAIDialect | str,
        differences: Differences | Mapping[str, Any] | None = None,
        name: str | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        account_name: str | None = None,
        completion_window: str | None = None,
        api_version: str | None = None,
        headers: Mapping[str, str] | None = None,
        assumed_batch_discount: Decimal | None = None,
        timeout_seconds: float = 600,
        max_retries: int = 2,
        queue: QueueLimits | None = None,
        listing_grace_seconds: float = 180,
    ) -> None:
        """`dialect` is the name of a preset (azure, groq, doubleword, gateway) or a record of one's own.

        `differences` make another host of it: the fields of openai_differences.Differences.
        `account_name` tells accounts of one host apart, where several keys belong to different ones. `api_version` goes
        with every call, for Azure's versioned API (root `https://NAME.openai.azure.com/openai`); the root of its v1 API
        is `https://NAME.openai.azure.com/openai/v1` and needs none. `headers` go with every call, a gateway's
        `x-litellm-model` say; they are no place for secrets. Raises ConfigError.
        """
        preset = _preset(dialect, self.presets) if isinstance(dialect, str) else dialect
        self.dialect = preset if differences is None else declared(preset, differences)
        super().__init__(
            name=name or self.dialect.vendor,
            api_key=api_key,
            base_url=base_url or self.dialect.base_url,
            timeout_seconds=timeout_seconds,
            max_retries=max_retries,
            queue=queue,
            listing_grace_seconds=listing_grace_seconds,
        )
        if not self._settings["base_url"]:
            raise ConfigError(f"the provider {self.name!r} ({self.dialect.name}) has no address: set `base_url`")
        self._place = _place(self._settings["base_url"])
        self.vendor = self.dialect.vendor
        self.host = self._place if self.dialect.local_models else None
        self.assumed_batch_discount = (
            self.dialect.assumed_batch_discount if assumed_batch_discount is None else assumed_batch_discount
        )
        window = completion_window or self.dialect.windows[0]
        if window not in self.dialect.windows:
            known = ", ".join(self.dialect.windows)
            raise ConfigError(f"`completion_window` is {window!r}; {self.dialect.name} takes {known}")
        self.limits = replace(self.dialect.limits, completion_window=window)
        self._account_name = account_name
        self._api_version = api_version
        self._headers = dict(headers or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, dialect={self.dialect.vendor!r})"

    @cached_property
    def _client(self) -> openai.OpenAI:
        variable = self.dialect.key_variable
        key = self._settings["api_key"] or (os.environ.get(variable) if variable else _NO_KEY)
        if not key:
            raise ConfigError(
                f"the provider {self.name!r} has no API key: set `api_key` of its resource, or the environment "
                f"variable {variable}"
            )
        left_out = openai.Omit()
        headers: dict[str, Any] = {
            "OpenAI-Organization": left_out,
            "OpenAI-Project": left_out,
            **self._headers,
            **({self.dialect.key_header: key} if self.dialect.key_header else {}),
        }
        # The SDK puts the key into `Authorization` too, where a host could take it for a token of another kind.
        hooks = {"request": [_without_authorization]} if self.dialect.key_header else {}
        client = openai.OpenAI(
            **{**self._settings, "api_key": key},
            default_headers=headers,
            http_client=openai.DefaultHttpxClient(event_hooks=hooks),
            default_query={"api-version": self._api_version} if self._api_version else None,
        )
        weakref.finalize(self, client.close)
        return client

    @cached_property
    def account(self) -> str:
        """Vendor, host where every account has its own, and the account's name: a rotated key is the same account."""
        own = self.dialect.base_url is not None and self._place == _place(self.dialect.base_url)
        parts = [self.vendor, None if own else self._place, self._account_name]
        return "+".join(part for part in parts if part)


# By name, for the registry.
azure = partial(OpenAICompatibleProvider, dialect="azure")
groq = partial(OpenAICompatibleProvider, dialect="groq")
doubleword = partial(OpenAICompatibleProvider, dialect="doubleword")
gateway = partial(OpenAICompatibleProvider, dialect="gateway")


def _without_authorization(request: Any) -> None:
    del request.headers["authorization"]


def _preset(name: str, presets: Mapping[str, OpenAIDialect]) -> OpenAIDialect:
    if name not in presets:
        known = ", ".join(sorted(presets))
        raise ConfigError(
            f"`dialect` is {name!r}; known are {known}. For another host, write `gateway` and set `differences`"
        )
    return presets[name]


def _place(base_url: str) -> str:
    """Host, and port where it is given. Raises ConfigError for what is no address."""
    url = urlsplit(base_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError(f"`base_url` is {base_url!r}; write the root of the API, https://host/v1 say")
    return url.netloc.rpartition("@")[2]
