"""Whether a validator may start: every registry must be of its network, and have it in its set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from caimi.crypto.quorum import ValidatorSet
from caimi.ports.chain import ChainReader
from caimi.types.errors import BadValidatorSet, Blame, CaimiError, Certainty, Retry, WrongEpoch
from caimi.types.primitives import Address, Bytes32, Epoch, SignerIndex
from caimi.types.records import Lane
from caimi.validator.attestor import Seat

__all__ = ["NotInSet", "RegistryReader", "RootsDiffer", "WrongNetwork", "check_network", "common_root", "take_seat"]


class WrongNetwork(CaimiError):
    """A registry belongs to another network than the configuration."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "compare the registry's genesis descriptor with the one in the configuration"


class NotInSet(CaimiError):
    """A registry's validator set does not have this validator."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "compare the key's address with `validators` of the genesis descriptor"


class RootsDiffer(CaimiError):
    """Registries of one network name different root registries."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "a registry was created with another root: it cannot be part of this network (docs/adr/0023)"


class RegistryReader(ChainReader, Protocol):
    """A reader of one source that can check it: chain, lane, network."""

    async def verify_site(self) -> Bytes32:
        """Check that a registry of this lane answers; its network id. Raises WrongChain, WrongRegistry, …"""
        ...


async def check_network(registry: RegistryReader, network: Bytes32) -> None:
    """Check one source.

    Raises:
        WrongNetwork, WrongChain, WrongRegistry: It is not what the configuration says.
        ChainUnavailable, NotInitialised: Ask again later.
    """
    actual = await registry.verify_site()
    if actual != network:
        raise WrongNetwork(f"registry 0x{registry.lane.registry.hex()} is of network 0x{actual.hex()}")


async def take_seat(registries: tuple[RegistryReader, ...], *, network: Bytes32, address: Address) -> Seat:
    """Check every registry's network, validator set and root, and find this validator's place.

    Raises:
        WrongNetwork, NotInSet, RootsDiffer: See above.
        BadQuorum, BadValidatorSet: A registry's numbers are outside the bounds, or the registries' sets differ.
        WrongEpoch: Registries are in different epochs.
        ChainUnavailable, SourcesDisagree: Ask again later.
    """
    seats: list[tuple[Epoch, ValidatorSet]] = []
    for registry in registries:
        await check_network(registry, network)
        view = await registry.validator_set()
        seats.append((view.epoch, ValidatorSet(validators=view.validators, f=view.f, t=view.t)))
        if address not in view.validators:
            raise NotInSet(f"0x{address.hex()} at registry 0x{registry.lane.registry.hex()}")
    if not seats:
        raise BadValidatorSet
    epoch, validators = seats[0]
    for other_epoch, other in seats[1:]:
        if other_epoch != epoch:
            raise WrongEpoch(epoch, other_epoch)
        if other != validators:
            raise BadValidatorSet
    root = await common_root(registries)
    return Seat(network=network, epoch=epoch, signer=SignerIndex(validators.validators.index(address)), root=root)


async def common_root(registries: Sequence[ChainReader]) -> Lane:
    """The registry that all of them, at least one, name as root.

    Raises:
        RootsDiffer: They name several.
        ChainUnavailable, SourcesDisagree: Ask again later.
    """
    roots = {await registry.root(): registry.lane for registry in registries}
    root, *others = roots
    if others:
        raise RootsDiffer(" and ".join(f"0x{at.registry.hex()} names 0x{r.registry.hex()}" for r, at in roots.items()))
    return root
