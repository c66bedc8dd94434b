"""Administration of one peer: join a channel, install, approve and commit a chaincode, ask what is done."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import grpc

from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.errors import ChaincodeRefusal, EndorseError, LifecycleError
from caimi.chains.fabric.identity import load_identity
from caimi.chains.fabric.proto import (
    NONCE_BYTES,
    ProposalContent,
    collection_pb2,
    encode_proposal,
    endorser_stub,
    lifecycle_pb2,
    msp_principal_pb2,
    policies_pb2,
    policy_pb2,
    proposal_pb2,
    query_pb2,
)
from caimi.chains.fabric.rpc_errors import endorse_error

__all__ = ["ChaincodeDefinition", "PeerAdmin", "PeerSite", "PrivateCollection"]

_ENDORSEMENT_PLUGIN: Final = "escc"
_VALIDATION_PLUGIN: Final = "vscc"
_TIMEOUT_S: Final = 60.0


class PeerSite(Protocol):
    """Where a peer listens and with which files its organisation's administrator reaches it."""

    @property
    def msp_id(self) -> str:
        """Membership provider of the peer's organisation."""
        ...

    @property
    def endpoint(self) -> str:
        """`host:port` of the peer."""
        ...

    @property
    def tls_ca(self) -> Path:
        """PEM of the authority that issued the peer's TLS certificate."""
        ...

    @property
    def admin_certificate(self) -> Path:
        """PEM of the organisation's administrator."""
        ...

    @property
    def admin_key(self) -> Path:
        """PEM of the administrator's key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateCollection:
    """A private data collection: members hold the values, the ledger only their hashes."""

    name: str
    members: tuple[str, ...]
    """Membership providers whose peers hold the values and whose clients may read and write them."""
    block_to_live: int
    """Blocks after which peers purge a value; 0 keeps it for ever."""
    required_peers: int
    """Other peers that must have the value before an endorser signs."""
    maximum_peers: int
    """Other peers that an endorser tries to give it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaincodeDefinition:
    """What the organisations agree on about a chaincode."""

    name: str
    version: str
    sequence: int
    """First is 1; each change of the definition raises it by one."""
    organisations: tuple[str, ...]
    """Membership providers whose peers may endorse."""
    endorsements: int
    """How many different organisations must endorse, 1 <= endorsements <= len(organisations)."""
    collections: tuple[PrivateCollection, ...] = ()


def _signature_policy(count: int, organisations: tuple[str, ...], role: Any) -> Any:
    rules = [policies_pb2.SignaturePolicy(signed_by=index) for index in range(len(organisations))]
    principals = [
        msp_principal_pb2.MSPPrincipal(
            principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
            principal=msp_principal_pb2.MSPRole(msp_identifier=name, role=role).SerializeToString(),
        )
        for name in organisations
    ]
    out_of = policies_pb2.SignaturePolicy.NOutOf(n=count, rules=rules)
    return policies_pb2.SignaturePolicyEnvelope(
        version=0, rule=policies_pb2.SignaturePolicy(n_out_of=out_of), identities=principals
    )


def _validation_parameter(definition: ChaincodeDefinition) -> bytes:
    role = msp_principal_pb2.MSPRole.PEER
    policy = _signature_policy(definition.endorsements, definition.organisations, role)
    return policy_pb2.ApplicationPolicy(signature_policy=policy).SerializeToString()


def _collections(definition: ChaincodeDefinition) -> Any:
    role = msp_principal_pb2.MSPRole.MEMBER
    return collection_pb2.CollectionConfigPackage(
        config=[
            collection_pb2.CollectionConfig(
                static_collection_config=collection_pb2.StaticCollectionConfig(
                    name=collection.name,
                    member_orgs_policy=collection_pb2.CollectionPolicyConfig(
                        signature_policy=_signature_policy(1, collection.members, role)
                    ),
                    required_peer_count=collection.required_peers,
                    maximum_peer_count=collection.maximum_peers,
                    block_to_live=collection.block_to_live,
                    member_only_read=True,
                    member_only_write=True,
                )
            )
            for collection in definition.collections
        ]
    )


class PeerAdmin:
    """The administrator of one organisation at its peer."""

    def __init__(self, gateway: FabricGateway) -> None:
        self._gateway = gateway
        self._endorser: Any = endorser_stub(gateway.transport)

    @classmethod
    def connect(cls, site: PeerSite, channel: str) -> Self:
        """Read the administrator's files and connect lazily.

        Raises:
            FabricIdentityError: A file is missing or unusable.
        """
        identity = load_identity(site.msp_id, site.admin_certificate, site.admin_key)
        return cls(FabricGateway.connect(site.endpoint, site.tls_ca.read_bytes(), identity, channel))

    @property
    def msp_id(self) -> str:
        """Membership provider of the organisation."""
        return self._gateway.identity.msp_id

    async def close(self) -> None:
        """Close the connection."""
        await self._gateway.close()

    async def has_joined(self) -> bool:
        """Tell whether the peer has the channel."""
        answer = query_pb2.ChannelQueryResponse.FromString(await self._ask("cscc", "GetChannels"))
        return any(channel.channel_id == self._gateway.channel for channel in answer.channels)

    async def join(self, genesis_block: bytes) -> None:
        """Give the peer the channel's genesis block."""
        await self._ask("cscc", "JoinChain", genesis_block, is_config=True)

    async def has_installed(self, package_id: str) -> bool:
        """Tell whether the package is installed."""
        raw = await self._ask("_lifecycle", "QueryInstalledChaincodes", b"")
        answer = lifecycle_pb2.QueryInstalledChaincodesResult.FromString(raw)
        return any(chaincode.package_id == package_id for chaincode in answer.installed_chaincodes)

    async def install(self, package: bytes) -> None:
        """Install a chaincode package."""
        arguments = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=package)
        await self._ask("_lifecycle", "InstallChaincode", arguments.SerializeToString())

    async def has_approved(self, definition: ChaincodeDefinition, package_id: str) -> bool:
        """Tell whether the organisation has approved exactly this definition with this package."""
        query = lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs(name=definition.name, sequence=definition.sequence)
        try:
            raw = await self._ask_channel("QueryApprovedChaincodeDefinition", query.SerializeToString())
        except EndorseError as error:
            if "could not fetch approved chaincode definition" in str(error):
                return False
            raise
        found = lifecycle_pb2.QueryApprovedChaincodeDefinitionResult.FromString(raw)
        return _agrees(found, definition) and found.source.local_package.package_id == package_id

    async def approve(self, definition: ChaincodeDefinition, package_id: str) -> None:
        """Approve the definition for the organisation, with a package that its peer has installed."""
        arguments = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(**_definition_fields(definition))
        arguments.source.local_package.package_id = package_id
        call = self._gateway.prepare(
            "_lifecycle", "ApproveChaincodeDefinitionForMyOrg", [arguments.SerializeToString()]
        )
        await self._gateway.send(call, organisations=[self.msp_id])

    async def has_committed(self, definition: ChaincodeDefinition) -> bool:
        """Tell whether the channel has this definition.

        Raises:
            LifecycleError: It has another definition of this or a later sequence.
        """
        query = lifecycle_pb2.QueryChaincodeDefinitionArgs(name=definition.name)
        try:
            raw = await self._ask_channel("QueryChaincodeDefinition", query.SerializeToString())
        except EndorseError as error:
            if "is not defined" in str(error):
                return False
            raise
        found = lifecycle_pb2.QueryChaincodeDefinitionResult.FromString(raw)
        if found.sequence < definition.sequence:
            return False
        if not _agrees(found, definition):
            raise LifecycleError(
                f"the channel has another definition of {definition.name} at sequence {found.sequence}"
            )
        return True

    async def commit(self, definition: ChaincodeDefinition) -> None:
        """Make the approved definition that of the channel."""
        arguments = lifecycle_pb2.CommitChaincodeDefinitionArgs(**_definition_fields(definition))
        await self._gateway.submit_transaction(
            "_lifecycle", "CommitChaincodeDefinition", [arguments.SerializeToString()]
        )

    async def probe(self, definition: ChaincodeDefinition, call: tuple[str, ...]) -> None:
        """Have the call answered by every organisation through this peer's Gateway; nothing is ordered.

        A refusal of the chaincode is an answer: it runs, and the Gateway knows the organisation's peer.
        """
        for organisation in definition.organisations:
            prepared = self._gateway.prepare(definition.name, call[0], call[1:])
            with contextlib.suppress(ChaincodeRefusal):
                await self._gateway.endorse(prepared, organisations=[organisation])

    async def _ask_channel(self, function: str, argument: bytes) -> bytes:
        return await self._ask("_lifecycle", function, argument, channel=self._gateway.channel)

    async def _ask(
        self, chaincode: str, function: str, *arguments: bytes, channel: str = "", is_config: bool = False
    ) -> bytes:
        # Straight to the peer's endorser: these calls concern this peer and must not be answered by another.
        identity = self._gateway.identity
        content = ProposalContent(
            channel=channel,
            chaincode=chaincode,
            arguments=[function.encode(), *arguments],
            transient={},
            timestamp_ns=time.time_ns(),
            nonce=os.urandom(NONCE_BYTES),
            creator=identity.creator,
            is_config=is_config,
        )
        tx_id, proposal = encode_proposal(content)
        signed = proposal_pb2.SignedProposal(proposal_bytes=proposal, signature=identity.sign(proposal))
        try:
            response = (await self._endorser.ProcessProposal(signed, timeout=_TIMEOUT_S)).response
        except grpc.aio.AioRpcError as error:
            raise endorse_error(error, tx_id) from error
        if response.status != 200:
            raise EndorseError(f"{function} {response.status}", response.message, tx_id=tx_id)
        return bytes(response.payload)


def _definition_fields(definition: ChaincodeDefinition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "version": definition.version,
        "sequence": definition.sequence,
        "endorsement_plugin": _ENDORSEMENT_PLUGIN,
        "validation_plugin": _VALIDATION_PLUGIN,
        "validation_parameter": _validation_parameter(definition),
        "collections": _collections(definition),
    }


def _agrees(found: Any, definition: ChaincodeDefinition) -> bool:
    return (
        found.sequence == definition.sequence
        and found.version == definition.version
        and bytes(found.validation_parameter) == _validation_parameter(definition)
        and found.collections == _collections(definition)
    )
