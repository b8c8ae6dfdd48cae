"""Parameters of a method call, wherever they stood: query string, form, multipart or JSON."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from simulator.errors import ApiError, bad_request

Json = dict[str, Any]
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_DISPOSITION = re.compile(rb'(\w+\*?)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))')


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a call."""

    name: str
    content: bytes


class Params:
    """The arguments of one call, read leniently as Telegram does: numbers and objects may be strings."""

    __slots__ = ("files", "values")

    def __init__(self, values: Json, files: dict[str, Upload] | None = None) -> None:
        """Wrap decoded values; numbers and nested objects may still be strings."""
        self.values = values
        self.files = files or {}

    def text(self, name: str) -> str:
        """A string, empty when absent."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()

    def integer(self, name: str, default: int = 0, low: int | None = None, high: int | None = None) -> int:
        """A whole number, clamped to its bounds; `default` when absent or not a number."""
        try:
            number = int(self.text(name) or default)
        except ValueError:
            number = default
        if low is not None:
            number = max(low, number)
        return number if high is None else min(high, number)

    def flag(self, name: str) -> bool:
        """A boolean; `true`, `yes` and `1` count, as with Telegram."""
        return self.text(name).strip().lower() in {"true", "yes", "1"}

    def json(self, name: str, unreadable: str) -> Any:  # noqa: ANN401 - any JSON value
        """A nested value, None when absent.

        Raises:
            ApiError: 400 with `unreadable` when it is a string that is not JSON.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise bad_request(unreadable) from None

    def upload(self, name: str) -> Upload | str | None:
        """A file: its bytes, or the text that names it (file id, URL), or None."""
        if name in self.files:
            return self.files[name]
        value = self.text(name)
        if value.startswith("attach://"):
            return self.files.get(value.removeprefix("attach://"))
        return value or None


def parse_call(query: bytes, content_type: str, body: bytes) -> Params:
    """Read the arguments of a call from its URL and body.

    Raises:
        ApiError: 400 when the body is not what the header promises.
    """
    try:
        values: Json = dict(parse_qsl(query.decode(), keep_blank_values=True)) if query else {}
        files: dict[str, Upload] = {}
        if body:
            kind = content_type.partition(";")[0].strip().lower()
            if kind == "application/json":
                decoded = orjson.loads(body)
                if not isinstance(decoded, dict):
                    raise bad_request("JSON object expected")
                values.update(decoded)
            elif kind == "multipart/form-data":
                _read_multipart(content_type, body, values, files)
            else:
                values.update(parse_qsl(body.decode(), keep_blank_values=True))
    except (UnicodeDecodeError, orjson.JSONDecodeError):
        raise ApiError(400, "Bad Request: can't parse the request") from None
    return Params(values, files)


def _read_multipart(content_type: str, body: bytes, values: Json, files: dict[str, Upload]) -> None:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_request("multipart boundary not found")
    delimiter = b"\r\n--" + found[1].encode()
    # The first delimiter has no line break of its own before it.
    for part in (b"\r\n" + body).split(delimiter)[1:]:
        head, separator, content = part.partition(b"\r\n\r\n")
        if not separator or part.startswith(b"--"):
            continue
        names = _disposition(head)
        name = names.get("name", "")
        if "filename" in names or "filename*" in names:
            files[name] = Upload(names.get("filename", "") or "file", content)
        else:
            values[name] = content.decode()


def _disposition(head: bytes) -> dict[str, str]:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-disposition:"):
            return {
                key.decode(): (quoted or bare).replace(b'\\"', b'"').decode()
                for key, quoted, bare in _DISPOSITION.findall(line)
            }
    return {}
