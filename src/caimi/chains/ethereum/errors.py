"""What can be wrong with an Ethereum node or with what it says.

* ChainError (caimi.ports.chain)
  + MalformedAnswer: an answer that no sound node gives, or one beyond our limits
    - AnswerTooLarge: more bytes than we read
    - EventGap: the registry's events have a hole or a repetition
  + RpcFailure: the node's own JSON-RPC error
  + RegistryMissing: no contract at the registry's address
  + BadArtefact: a compiled contract that cannot be used
  + DeploymentFailed: a contract could not be put on the chain
  + ChainUnavailable
    - ChainMoved: the branch changed between two answers
"""

from __future__ import annotations

from caimi.ports.chain import ChainError, ChainUnavailable
from caimi.types.failure import Blame, Certainty, Retry

__all__ = [
    "AnswerTooLarge",
    "BadArtefact",
    "ChainMoved",
    "DeploymentFailed",
    "EventGap",
    "MalformedAnswer",
    "RegistryMissing",
    "RpcFailure",
]


class MalformedAnswer(ChainError):
    """The node's answer is not what the method gives, or breaks a limit."""

    retry = Retry.AFTER
    hint = "compare with another node of this chain; this one is broken or lies"


class AnswerTooLarge(MalformedAnswer):
    """The answer is longer than we read: a smaller question may do."""

    hint = "ask for a smaller range"


class EventGap(MalformedAnswer):
    """The node's events of the registry have a hole or a repetition: nothing is skipped, the reader abstains."""

    certainty = Certainty.PROVEN
    hint = "the node lost logs or lies: use another node or let it index again"


class RpcFailure(ChainError):
    """The node answered with a JSON-RPC error."""

    retry = Retry.AFTER
    hint = "see the node's message"

    def __init__(self, code: int, message: str, data: bytes | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        """JSON-RPC error code."""
        self.message = message
        """At most 2,000 characters."""
        self.data = data
        """Revert data, if the node gave any."""


class RegistryMissing(ChainError):
    """There is no contract at the registry's address."""

    retry = Retry.AFTER
    hint = "the node has not reached the registry's block yet, lost its state, or the address is wrong"


class BadArtefact(ChainError):
    """A compiled contract is missing or not what the build writes."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "build the contracts again"


class DeploymentFailed(ChainError):
    """A contract could not be put on the chain."""

    blame = Blame.OPERATOR
    retry = Retry.AFTER
    hint = "see the cause; the deployer needs native money and a free nonce"


class ChainMoved(ChainUnavailable):
    """The branch changed while it was read, so the parts do not belong together."""

    hint = "asked again by itself"
