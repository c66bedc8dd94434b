"""Configuration files of orderers and peers (their YAML is written as JSON)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caimi.devnet.fabric.network import HOST, OrdererNode, PeerNode

__all__ = ["orderer_config", "peer_config"]

_BCCSP = {"Default": "SW", "SW": {"Hash": "SHA2", "Security": 256}}
# Peers find each other at the first interval, which decides how long the network takes to start. The second is what
# they tell each other for ever: at 200 ms it would cost each of four idle peers 7 % of a core. Slower than that is only
# what nothing waits for: pulling identities, watching the membership.
_GOSSIP_FINDING = "200ms"
_GOSSIP_TELLING = "1s"


def orderer_config(orderer: OrdererNode, *, tls_authorities: Sequence[Path], data: Path) -> dict[str, object]:
    """Return orderer.yaml.

    Args:
        tls_authorities: Those of all orderers, which connect to each other.
        data: Folder of its ledger and logs.
    """
    certificate, key = str(orderer.tls_certificate), str(orderer.tls_key)
    authorities = [str(path) for path in tls_authorities]
    return {
        "General": {
            "ListenAddress": HOST,
            "ListenPort": orderer.port,
            "TLS": {"Enabled": True, "PrivateKey": key, "Certificate": certificate, "RootCAs": authorities},
            "Cluster": {
                "ListenAddress": HOST,
                "ListenPort": orderer.cluster_port,
                "ClientCertificate": certificate,
                "ClientPrivateKey": key,
                "ServerCertificate": certificate,
                "ServerPrivateKey": key,
                "RootCAs": authorities,
            },
            "LocalMSPDir": str(orderer.material / "msp"),
            "LocalMSPID": orderer.msp_id,
            "BootstrapMethod": "none",
            "BCCSP": _BCCSP,
        },
        "FileLedger": {"Location": str(data / "ledger")},
        "Consensus": {"WALDir": str(data / "wal"), "SnapDir": str(data / "snapshots")},
        "Operations": {"ListenAddress": f"{HOST}:{orderer.operations_port}"},
        "Metrics": {"Provider": "prometheus"},
        "Admin": {
            "ListenAddress": f"{HOST}:{orderer.admin_port}",
            "TLS": {
                "Enabled": True,
                "PrivateKey": key,
                "Certificate": certificate,
                "RootCAs": [str(orderer.tls_ca)],
                "ClientAuthRequired": True,
                "ClientRootCAs": [str(orderer.tls_ca)],
            },
        },
        "ChannelParticipation": {"Enabled": True, "MaxRequestBodySize": "1 MB"},
    }


def peer_config(peer: PeerNode, *, builder: Path, data: Path, time_window_s: int) -> dict[str, object]:
    """Return core.yaml.

    Args:
        builder: Folder of the external builder that starts the chaincode.
        data: Folder of its ledger.
        time_window_s: How far a proposal's timestamp may be from the peer's clock, seconds.
    """
    return {
        "peer": _peer_section(peer, data, time_window_s),
        "vm": {"endpoint": ""},  # no Docker
        "chaincode": {
            "externalBuilders": [{"name": "caimi", "path": str(builder), "propagateEnvironment": []}],
            "installTimeout": "60s",
            "startuptimeout": "60s",
            "executetimeout": "30s",
            "mode": "net",
            "keepalive": 0,
            "system": {"_lifecycle": "enable", "cscc": "enable", "lscc": "enable", "qscc": "enable"},
            "logging": {"level": "info", "shim": "warning"},
            "runtimeParams": {
                "useWriteBatch": True,
                "maxSizeWriteBatch": 1000,
                "useGetMultipleKeys": True,
                "maxSizeGetMultipleKeys": 1000,
            },
        },
        "ledger": {
            "state": {"stateDatabase": "goleveldb", "totalQueryLimit": 100_000},
            "history": {"enableHistoryDatabase": False},
            "snapshots": {"rootDir": str(data / "snapshots")},
        },
        "operations": {"listenAddress": f"{HOST}:{peer.operations_port}"},
        "metrics": {"provider": "disabled"},
    }


def _peer_section(peer: PeerNode, data: Path, time_window_s: int) -> dict[str, object]:
    chaincode_address = f"{HOST}:{peer.chaincode_port}"
    return {
        "id": peer.name,
        "networkId": "caimi",
        "address": peer.endpoint,
        "listenAddress": peer.endpoint,
        "chaincodeListenAddress": chaincode_address,
        "chaincodeAddress": chaincode_address,
        "authentication": {"timewindow": f"{time_window_s}s"},
        "gateway": {"enabled": True, "endorsementTimeout": "30s", "broadcastTimeout": "30s", "dialTimeout": "30s"},
        "gossip": _gossip(peer.endpoint),
        "tls": {
            "enabled": True,
            "clientAuthRequired": False,
            "cert": {"file": str(peer.tls_certificate)},
            "key": {"file": str(peer.tls_key)},
            "rootcert": {"file": str(peer.tls_ca)},
        },
        "fileSystemPath": str(data / "peer"),
        "mspConfigPath": str(peer.material / "msp"),
        "localMspId": peer.msp_id,
        "localMspType": "bccsp",
        "BCCSP": _BCCSP,
        "deliveryclient": {
            "reconnectTotalTimeThreshold": "3600s",
            "reConnectBackoffThreshold": "2s",
            "connTimeout": "3s",
            "minimalReconnectInterval": "100ms",
        },
        "handlers": {
            # TimeWindowCheck is what makes a transaction's timestamp a clock: without it endorsers sign any time.
            "authFilters": [{"name": "DefaultAuth"}, {"name": "ExpirationCheck"}, {"name": "TimeWindowCheck"}],
            "decorators": [{"name": "DefaultDecorator"}],
            "endorsers": {"escc": {"name": "DefaultEndorsement"}},
            "validators": {"vscc": {"name": "DefaultValidation"}},
        },
        "discovery": {
            "enabled": True,
            "authCacheEnabled": True,
            "authCacheMaxSize": 1000,
            "authCachePurgeRetentionRatio": 0.75,
        },
        "limits": {"concurrency": {"endorserService": 2500, "deliverService": 2500, "gatewayService": 2500}},
    }


def _gossip(endpoint: str) -> dict[str, object]:
    # Until gossip has shown a peer the others, its Gateway cannot find endorsers: short intervals make the first
    # transaction quick (2 s instead of up to 9 s measured).
    return {
        "bootstrap": endpoint,
        "endpoint": endpoint,
        "externalEndpoint": endpoint,
        "useLeaderElection": False,
        "orgLeader": True,
        "aliveTimeInterval": _GOSSIP_TELLING,
        "reconnectInterval": _GOSSIP_FINDING,
        "publishCertPeriod": _GOSSIP_FINDING,
        "pullInterval": "4s",
        "requestStateInfoInterval": _GOSSIP_TELLING,
        "publishStateInfoInterval": _GOSSIP_TELLING,
        "membershipTrackerInterval": "5s",
        "aliveExpirationTimeout": "5s",
        "maxConnectionAttempts": 1000,
        "pvtData": {
            "pullRetryThreshold": "5s",
            "transientstoreMaxBlockRetention": 1000,
            "pushAckTimeout": "3s",
            "btlPullMargin": 10,
            "reconcileBatchSize": 10,
            "reconcileSleepInterval": "5s",
            "reconciliationEnabled": True,
            "implicitCollectionDisseminationPolicy": {"requiredPeerCount": 0, "maxPeerCount": 1},
        },
        "state": {"enabled": False},
    }
