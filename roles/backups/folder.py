"""The folder of the backups: a dump appears in it whole or not at all, and the newest verified ones stay."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from domain.errors import StartupError

PARTIAL = ".partial"
UNVERIFIED = ".unverified"
_DUMPS = "quiz-*.dump"


class BackupFolder:
    """A folder that one backup at a time works in."""

    def __init__(self, path: Path) -> None:
        """Take the folder."""
        self.path = path

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Make the folder, keep other backups out of it, and remove what one that was killed left.

        Raises:
            StartupError: it cannot be written, or another backup is under way.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StartupError(f"the folder {self.path} cannot be used ({error.strerror}); set BACKUP_DIR") from None
        try:
            self._take(lock)
            yield
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self.path.glob(f"{_DUMPS}{PARTIAL}"):
                left.unlink()
        except BlockingIOError:
            raise StartupError(f"another backup is under way in {self.path}") from None
        except OSError as error:
            raise StartupError(f"the folder {self.path} cannot be written ({error.strerror}); set BACKUP_DIR") from None

    @contextlib.contextmanager
    def new_dump(self, begun_at: datetime) -> Iterator[NewDump]:
        """Make a new file, and remove it unless it was kept."""
        dump = NewDump(self.path / f"quiz-{begun_at:%Y%m%dT%H%M%SZ}.dump")
        try:
            yield dump
        finally:
            with contextlib.suppress(OSError):  # read-only, or it was kept; the next backup removes what is left
                dump.partial.unlink()

    def list_verified(self) -> list[Path]:
        """Return the verified dumps, the newest first."""
        return sorted(self.path.glob(_DUMPS), reverse=True)

    def prune(self, new: Path, kept: int) -> None:
        """Remove all but the newest verified dumps, and those that could not be verified before them.

        Args:
            new: the one that was just made, and stays although a clock was ahead when another was.
        """
        for old in [dump for dump in self.list_verified() if dump != new][kept - 1 :]:
            old.unlink()
        self._remove_unverified()

    def keep_unverified(self, dump: NewDump) -> Path:
        """Keep a dump under another name, in the place of an earlier one that was not verified either."""
        self._remove_unverified()
        return dump.rename(dump.path.with_name(dump.path.name + UNVERIFIED))

    def _remove_unverified(self) -> None:
        for old in self.path.glob(f"{_DUMPS}{UNVERIFIED}"):
            old.unlink()


class NewDump:
    """A file in the making."""

    def __init__(self, path: Path) -> None:
        """Take where it is to be."""
        self.path = path
        self.partial = path.with_name(path.name + PARTIAL)

    @contextlib.contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """Make the file, readable for nobody else, and see to it that what was written is on the disk."""
        with open_new(self.partial) as file:
            yield file
            os.fsync(file.fileno())

    def keep(self) -> Path:
        """Give the file its name for good."""
        return self.rename(self.path)

    def rename(self, path: Path) -> Path:
        """Give the file a name that lasts, and return it."""
        self.partial.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return path


def open_new(path: Path) -> BinaryIO:
    """Open a file that is not there yet, for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
