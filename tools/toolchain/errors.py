"""The one error of the toolchain."""

__all__ = ["ToolchainError"]


class ToolchainError(Exception):
    """A part of the toolchain could not be made or found. The text says what happened and what to do next."""
