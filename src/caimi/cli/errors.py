"""What only the command line says no with.

* CaimiError
  + FileProblem: a file or folder cannot be read or written
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = ["FileProblem"]


class FileProblem(CaimiError):
    """A file or folder cannot be read or written."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "check the path, its permissions and the room that is left"
