"""Pictures: what they are and how large, read from their first bytes."""

import struct
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WEBP_LEAST: Final = 30


def picture_type(content: bytes) -> str:
    """The media type of a picture; `application/octet-stream` for anything that is not one."""
    if content.startswith(_PNG):
        return "image/png"
    if content.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, or None if it is not a picture that Telegram takes."""
    kind = picture_type(content)
    try:
        if kind == "image/png":
            width, height = struct.unpack_from(">II", content, 16)
        elif kind == "image/gif":
            width, height = struct.unpack_from("<HH", content, 6)
        elif kind == "image/jpeg":
            return _jpeg_size(content)
        elif kind == "image/webp":
            return _webp_size(content)
        else:
            return None
    except struct.error:
        return None
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:  # noqa: PLR2004 - the marker byte
        marker, length = content[at + 1], struct.unpack_from(">H", content, at + 2)[0]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 + length
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    if len(content) < _WEBP_LEAST:
        return None
    if content[12:16] == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        return width, int.from_bytes(content[27:30], "little") + 1
    if content[12:16] == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF
