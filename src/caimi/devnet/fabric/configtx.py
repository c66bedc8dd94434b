"""The channel's genesis configuration, input of configtxgen (its YAML is written as JSON)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from caimi.devnet.fabric.network import HOST, OrdererNode, Ordering, PeerNode

__all__ = ["PROFILE", "channel_config"]

PROFILE: Final = "Caimi"
"""Name of the profile for configtxgen."""

# Near Fabric's defaults the loss of the leading orderer stops the channel for more than a minute; with these
# for less than three seconds (measured).
_SMART_BFT_TIMERS: Final[dict[str, object]] = {
    "RequestForwardTimeout": "500ms",
    "RequestComplainTimeout": "2s",
    "RequestAutoRemoveTimeout": "3m",
    "ViewChangeResendInterval": "1s",
    "ViewChangeTimeout": "3s",
    "LeaderHeartbeatTimeout": "3s",
    "LeaderHeartbeatCount": 10,
    "CollectTimeout": "500ms",
    "IncomingMessageBufferSize": 200,
    "RequestPoolSize": 100_000,
}


def _signature(rule: str) -> dict[str, str]:
    return {"Type": "Signature", "Rule": rule}


def _implicit(rule: str) -> dict[str, str]:
    return {"Type": "ImplicitMeta", "Rule": rule}


def _group_policies() -> dict[str, object]:
    return {
        "Readers": _implicit("ANY Readers"),
        "Writers": _implicit("ANY Writers"),
        "Admins": _implicit("MAJORITY Admins"),
    }


def channel_config(
    orderers: Sequence[OrdererNode],
    peers: Sequence[PeerNode],
    *,
    batch_interval_ms: int,
    ordering: Ordering = Ordering.SMART_BFT,
) -> dict[str, object]:
    """Return the configuration of a channel, every orderer in an organisation of its own.

    Args:
        batch_interval_ms: How long the leader waits for a block to fill, milliseconds.
    """
    application = {
        "Organizations": [_peer_organisation(peer) for peer in peers],
        "Capabilities": {"V2_5": True},
        "Policies": {
            **_group_policies(),
            "LifecycleEndorsement": _implicit("MAJORITY Endorsement"),
            "Endorsement": _implicit("MAJORITY Endorsement"),
        },
    }
    profile = {
        "Policies": _group_policies(),
        "Capabilities": {"V3_0": True},
        "Orderer": _orderer(orderers, batch_interval_ms, ordering),
        "Application": application,
    }
    return {"Profiles": {PROFILE: profile}}


def _orderer(orderers: Sequence[OrdererNode], batch_interval_ms: int, ordering: Ordering) -> dict[str, object]:
    common: dict[str, object] = {
        "BatchSize": {"MaxMessageCount": 500, "AbsoluteMaxBytes": "32 MB", "PreferredMaxBytes": "8 MB"},
        "Organizations": [_orderer_organisation(orderer) for orderer in orderers],
        "Policies": {**_group_policies(), "BlockValidation": _implicit("ANY Writers")},
        "Capabilities": {"V2_0": True},
    }
    if ordering is Ordering.RAFT:
        return {
            "OrdererType": "etcdraft",
            "BatchTimeout": f"{batch_interval_ms}ms",
            **common,
            "EtcdRaft": _raft(orderers),
        }
    return {
        "OrdererType": "BFT",
        "BatchTimeout": "100ms",
        **common,
        "ConsenterMapping": [
            {
                "ID": number,
                "Host": HOST,
                "Port": orderer.cluster_port,
                "MSPID": orderer.msp_id,
                "Identity": str(orderer.certificate),
                "ClientTLSCert": str(orderer.tls_certificate),
                "ServerTLSCert": str(orderer.tls_certificate),
            }
            for number, orderer in enumerate(orderers, start=1)
        ],
        "SmartBFT": {"RequestBatchMaxInterval": f"{batch_interval_ms}ms", **_SMART_BFT_TIMERS},
    }


def _raft(orderers: Sequence[OrdererNode]) -> dict[str, object]:
    return {
        "Consenters": [
            {
                "Host": HOST,
                "Port": orderer.cluster_port,
                "ClientTLSCert": str(orderer.tls_certificate),
                "ServerTLSCert": str(orderer.tls_certificate),
            }
            for orderer in orderers
        ],
        "Options": {
            "TickInterval": "100ms",
            "ElectionTick": 10,
            "HeartbeatTick": 1,
            "MaxInflightBlocks": 5,
            "SnapshotIntervalSize": "16 MB",
        },
    }


def _orderer_organisation(orderer: OrdererNode) -> dict[str, object]:
    return {
        "Name": orderer.msp_id,
        "ID": orderer.msp_id,
        "MSPDir": str(orderer.organisation / "msp"),
        "OrdererEndpoints": [orderer.endpoint],
        "Policies": {
            "Readers": _signature(f"OR('{orderer.msp_id}.member')"),
            "Writers": _signature(f"OR('{orderer.msp_id}.member')"),
            "Admins": _signature(f"OR('{orderer.msp_id}.admin')"),
        },
    }


def _peer_organisation(peer: PeerNode) -> dict[str, object]:
    return {
        "Name": peer.msp_id,
        "ID": peer.msp_id,
        "MSPDir": str(peer.organisation / "msp"),
        "AnchorPeers": [{"Host": HOST, "Port": peer.port}],
        "Policies": {
            "Readers": _signature(f"OR('{peer.msp_id}.member')"),
            "Writers": _signature(f"OR('{peer.msp_id}.admin','{peer.msp_id}.client')"),
            "Admins": _signature(f"OR('{peer.msp_id}.admin')"),
            "Endorsement": _signature(f"OR('{peer.msp_id}.peer')"),
        },
    }
