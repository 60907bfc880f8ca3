"""Which API a request speaks, by one table of method, path and content type. Host-independent."""

from enum import StrEnum


class LlmProtocol(StrEnum):
    """The APIs told apart. The value is what `--protocol` takes and what the index stores."""

    MESSAGES = "messages"
    RESPONSES = "responses"
    CHAT = "chat"
    GEMINI = "gemini"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    AUDIO = "audio"
    RERANK = "rerank"
