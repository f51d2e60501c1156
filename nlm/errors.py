"""The errors that people see: one line saying what was given, what is allowed, what to do next."""

from __future__ import annotations

__all__ = ["FileError", "NlmError", "UsageError"]


class NlmError(Exception):
    """Base of every error that nlm raises on purpose."""


class UsageError(NlmError, ValueError):
    """A wrong option or argument; nothing was done. The command line exits with 2."""


class FileError(NlmError, OSError):
    """One file could not be read or written; other files go on. The command line exits with 1."""
