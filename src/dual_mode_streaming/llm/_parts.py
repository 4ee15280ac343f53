"""The parts of a message: text, images, files, thinking, and what only one API knows."""

from typing import Annotated, Any, Literal

from pydantic import Field

from dual_mode_streaming.llm._events import FrozenModel


class TextPart(FrozenModel):
    """A piece of text. Pieces are kept apart on their way to a provider."""

    type: Literal["text"] = "text"
    text: str


class ImagePart(FrozenModel):
    """An image, by exactly one of its URL, its base64 `data`, or the id of an uploaded file.

    Attributes:
        url: where the provider finds it.
        data: its bytes in base64; `media_type` says what they are.
        media_type: such as image/png.
        file_id: the id of a file that was uploaded to the provider.
        detail: how closely the model looks (OpenAI).
    """

    type: Literal["image"] = "image"
    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    detail: str | None = None


class FilePart(FrozenModel):
    """A document, by exactly one of its URL, its base64 `data`, its `text`, or a file's id.

    Attributes:
        url: where the provider finds it.
        data: its bytes in base64; `media_type` says what they are.
        text: its text, if it is plain text.
        media_type: such as application/pdf.
        file_id: the id of a file that was uploaded to the provider.
        name: its name or title.
    """

    type: Literal["file"] = "file"
    url: str | None = None
    data: str | None = None
    text: str | None = None
    media_type: str | None = None
    file_id: str | None = None
    name: str | None = None


class ThinkingPart(FrozenModel):
    """Earlier reasoning of the model; redacted, it has only a signature."""

    type: Literal["thinking"] = "thinking"
    text: str = ""
    signature: str | None = None
    is_redacted: bool = False


class OpaquePart(FrozenModel):
    """A part that only one API knows, as it came: what a tool of the provider did, for example."""

    type: Literal["opaque"] = "opaque"
    dialect: str
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        """The part's own type."""
        return str(self.value.get("type"))


Part = Annotated[
    TextPart | ImagePart | FilePart | ThinkingPart | OpaquePart, Field(discriminator="type")
]
"""A part of the content of a message."""
