"""Where the emulator speaks as which provider."""

VARIABLES = {
    "openai": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "gemini": "GOOGLE_GEMINI_BASE_URL",
    "vertex": "GOOGLE_VERTEX_BASE_URL",
    "gcs": "STORAGE_EMULATOR_HOST",
}
"""The environment variables that the official SDKs read. Mistral's reads none: it has `server_url`."""


def addresses(url: str) -> dict[str, str]:
    """The root of each provider's API, `url` being the emulator's; `hosts` is for Azure OpenAI, Groq and the like."""
    return {
        "openai": f"{url}/v1",
        "hosts": f"{url}/openai/v1",
        "anthropic": url,
        "gemini": f"{url}/gemini",
        "vertex": f"{url}/vertex",
        "gcs": url,
        "mistral": f"{url}/mistral",
    }


def environment(url: str) -> dict[str, str]:
    """The environment that points the official SDKs at the emulator."""
    found = addresses(url)
    return {variable: found[name] for name, variable in VARIABLES.items()}
