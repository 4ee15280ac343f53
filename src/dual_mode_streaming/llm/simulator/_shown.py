"""What the simulator was shown: text, and a placeholder for everything else."""

from dual_mode_streaming.llm._parts import FilePart, ImagePart, Part, TextPart, ThinkingPart
from dual_mode_streaming.llm._requests import ChatMessage


def shown(message: ChatMessage) -> str:
    """Return the text of a message, with placeholders such as `[image/png, 68 bytes]`."""
    if isinstance(message.content, str):
        return message.content
    texts = [_shown(part) for part in message.parts]
    only_text = all(isinstance(part, TextPart | ThinkingPart) for part in message.parts)
    return "".join(texts) if only_text else "\n".join(text for text in texts if text)


def _shown(part: Part) -> str:
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ThinkingPart):
        return ""
    if not isinstance(part, ImagePart | FilePart):
        return f"[{part.kind}]"
    what = part.media_type or ("image" if isinstance(part, ImagePart) else "file")
    if isinstance(part, FilePart) and part.name:
        what = f"{part.name}, {what}"
    if part.data is not None:
        return f"[{what}, {_size(part.data)} bytes]"
    if isinstance(part, FilePart) and part.text is not None:
        return f"[{part.name or 'file'}]\n{part.text}"
    return f"[{what}, {part.url or part.file_id}]"


def _size(data: str) -> int:
    return len(data) * 3 // 4 - data.count("=", -2)  # of base64; to decode megabytes takes long
