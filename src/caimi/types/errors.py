"""Roots of the error tree (spec 00 §5).

Refusals of the protocol are generated from spec/errors.toml into `caimi.types.refusals` and re-exported here:

* CaimiError
  + Refusal: the protocol says no; `code`, `blame`, `certainty`, `retry`, `hint` and the table's arguments as `values`
  + every other typed error of the package (names end in the thing that failed)
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Refusal, Retry
from caimi.types.refusals import *  # noqa: F403 - the generated table, each name of which is in its __all__
from caimi.types.refusals import BadLength, OutOfRange

__all__ = ["BadLength", "Blame", "CaimiError", "Certainty", "OutOfRange", "Refusal", "Retry"]
