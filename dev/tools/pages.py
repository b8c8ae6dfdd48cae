"""Pages that are written from something else: kept, or checked against what they were written from."""

from __future__ import annotations

from pathlib import Path


def write_or_check(path: Path, text: str, arguments: list[str], command: str) -> int:
    """Write a page, or with `--check` among the arguments only say whether it is as it should be.

    Returns:
        The exit status.
    """
    if "--check" not in arguments:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        print(f"{path.name} is not what it is written from: run `{command}`")
        return 1
    return 0


def with_part(path: Path, begin: str, end: str, part: str) -> str:
    """Return a file's text with another part between two marks, which stand in it once each."""
    before, rest = path.read_text(encoding="utf-8").split(begin)
    return f"{before}{begin}{part}{end}{rest.split(end)[1]}"
