"""The control endpoint, from Python."""

import json
from typing import Any
from urllib.request import Request, urlopen

from batch_assets.emulator.addresses import addresses, environment


class Controls:
    """What a test does to a running emulator; base of `Emulator` and `SpawnedEmulator`.

    Errors of the control endpoint are raised as `urllib.error.HTTPError`; its body says what was wrong.
    """

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        raise NotImplementedError

    @property
    def addresses(self) -> dict[str, str]:
        """The root of each provider's API: openai, hosts (that speak OpenAI's API), anthropic, gemini, ..."""
        return addresses(self.url)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point the official SDKs at it; any text is a key."""
        return environment(self.url)

    @property
    def openai_base_url(self) -> str:
        """What `OPENAI_BASE_URL` is set to."""
        return self.addresses["openai"]

    @property
    def gcs_base_url(self) -> str:
        """What `STORAGE_EMULATOR_HOST` is set to; google-cloud-storage needs no credentials then."""
        return self.addresses["gcs"]

    @property
    def gemini_base_url(self) -> str:
        """What `GOOGLE_GEMINI_BASE_URL` is set to."""
        return self.addresses["gemini"]

    @property
    def vertex_base_url(self) -> str:
        """What `GOOGLE_VERTEX_BASE_URL` is set to."""
        return self.addresses["vertex"]

    @property
    def anthropic_base_url(self) -> str:
        """What `ANTHROPIC_BASE_URL` is set to."""
        return self.addresses["anthropic"]

    @property
    def mistral_server_url(self) -> str:
        """What the SDK's `server_url` is set to; it reads no environment variable for that."""
        return self.addresses["mistral"]

    def bill(self, *, detail: bool = False) -> dict[str, Any]:
        """Per provider: requests, distinct, duplicates, surplus, errors, tokens; with `detail` every fingerprint."""
        return self._call("GET", f"bill?detail={int(detail)}")

    def arm(self, fault: str, *, operation: str | None = None, **spec: Any) -> int:
        """Arm a fault (see `faults.CATALOGUE`): provider, times, after and the fault's own parameters; its number."""
        if operation is not None:
            spec["operation"] = operation
        number: int = self._call("POST", "faults", {"fault": fault, **spec})["id"]
        return number

    def faults(self) -> list[dict[str, Any]]:
        """What was armed, with `seen` and `fired`."""
        armed: list[dict[str, Any]] = self._call("GET", "faults")["faults"]
        return armed

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def set_limits(self, provider: str = "openai", **limits: Any) -> None:
        """Put limits in place of the provider's own."""
        self._call("POST", "limits", {"provider": provider, **limits})

    def set_latency(self, seconds: float) -> None:
        """For batches created from now on."""
        self._call("POST", "latency", {"seconds": seconds})

    def advance(self, seconds: float) -> float:
        """Move the emulator's clock forward, let happen what is then due; its new time."""
        now: float = self._call("POST", "clock", {"advance_seconds": seconds})["now"]
        return now

    def now(self) -> float:
        """The emulator's time, seconds since 1970."""
        now: float = self._call("GET", "clock")["now"]
        return now

    def reset(self) -> None:
        """Forget everything."""
        self._call("POST", "reset", {})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "connection": "close"}
        request = Request(f"{self.url}/_emulator/{path}", data=data, method=method, headers=headers)  # noqa: S310 -- http, ours
        with urlopen(request, timeout=90) as response:  # noqa: S310 -- as above
            answer: dict[str, Any] = json.load(response)
        return answer
