"""What the official SDKs are pointed at the emulator with."""


def environment(url: str) -> dict[str, str]:
    """The environment variables that the SDKs read; `url` is the emulator's. Mistral's reads none: see `mistral`."""
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": f"{url}/gemini",
        "GOOGLE_VERTEX_BASE_URL": f"{url}/vertex",
        "STORAGE_EMULATOR_HOST": url,
    }


def mistral(url: str) -> str:
    """The `server_url` of Mistral's SDK."""
    return f"{url}/mistral"


def hosts(url: str) -> str:
    """The root for Azure OpenAI, Groq and other hosts that have OpenAI's API below a path of their own."""
    return f"{url}/openai/v1"
