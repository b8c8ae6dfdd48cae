"""Pictures: what they are and how large, of the kinds that Telegram takes."""

from io import BytesIO
from typing import Final

from PIL import Image

_KINDS: Final = ("PNG", "JPEG", "GIF", "WEBP")


def _read(content: bytes) -> Image.Image | None:
    """A picture of which only the head was read; None for anything else."""
    try:
        return Image.open(BytesIO(content), formats=_KINDS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def picture_type(content: bytes) -> str:
    """The media type of a picture; `application/octet-stream` for anything that is not one."""
    picture = _read(content)
    return Image.MIME[picture.format or ""] if picture else "application/octet-stream"


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, or None if it is not a picture that Telegram takes."""
    picture = _read(content)
    return picture.size if picture else None
