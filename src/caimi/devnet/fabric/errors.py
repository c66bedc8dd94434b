"""Errors of making the Fabric network's files.

* CaimiError
  + FabricDevnetError: root
    - FabricToolFailed: cryptogen or configtxgen ended with an error
    - FabricStateUnusable: the state folder holds a network of another format, or half of one
    - BadFabricPlan: the caller's ports, names or package cannot make a network
"""

from __future__ import annotations

from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = ["BadFabricPlan", "FabricDevnetError", "FabricStateUnusable", "FabricToolFailed"]


class FabricDevnetError(CaimiError):
    """The Fabric network's files cannot be made or read."""

    blame = Blame.OPERATOR


class FabricToolFailed(FabricDevnetError):
    """cryptogen or configtxgen failed."""

    hint = "see its output; `python3 tools/bootstrap.py setup` builds the programs anew"
    retry = Retry.AFTER


class FabricStateUnusable(FabricDevnetError):
    """The folder holds something else than a network that this version made."""

    certainty = Certainty.PROVEN
    hint = "wipe the state folder, or use the version that made it"


class BadFabricPlan(FabricDevnetError):
    """Ports, names or package cannot make a network."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "give as many different free ports as FabricPorts.count says and an existing executable"
