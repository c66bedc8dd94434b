"""A network as a state folder describes it."""

from __future__ import annotations

from pathlib import Path

from caimi.sdk.network import EthereumLane, FabricLane, FabricPeer, Network, ValidatorSite
from caimi.types.primitives import Address, Bytes32, Epoch, Generation
from caimi.types.records import Attestation, Genesis, Lane
from caimi.wire.chain_ids import chain_hash, ethereum_registry, fabric_registry
from caimi.wire.digests import network_id

__all__ = ["a_network"]

_CONTRACT = Address(bytes(19) + b"\x07")
_VALIDATORS = tuple(Address(bytes([i]) * 20) for i in range(1, 5))


def _fabric(home: Path) -> FabricLane:
    peer = FabricPeer(
        name="peer1",
        endpoint="127.0.0.1:7051",
        tls_ca=home / "fabric" / "ca.crt",
        msp_id="Org1MSP",
        certificate=home / "fabric" / "cert.pem",
        key=home / "fabric" / "key.pem",
    )
    caip2 = "fabric:" + "ab" * 16
    return FabricLane(
        name="fabric",
        caip2=caip2,
        lane=Lane(chain=chain_hash(caip2), registry=fabric_registry("caimi", "caimi")),
        generation=Generation(1),
        clock_window_s=30,
        min_deposit=(1 << 100) + 1,
        channel="caimi",
        chaincode="caimi",
        genesis_hash=Bytes32(b"\x01" * 32),
        token_issuer=Address(b"\x08" * 20),
        peers=(peer,),
    )


def _ethereum() -> EthereumLane:
    caip2 = "eip155:31337"
    return EthereumLane(
        name="ethereum",
        caip2=caip2,
        lane=Lane(chain=chain_hash(caip2), registry=ethereum_registry(_CONTRACT)),
        generation=Generation(1),
        clock_window_s=5,
        min_deposit=1000,
        chain_id=31337,
        contract=_CONTRACT,
        token=Address(b"\x06" * 20),
        first_block=0,
        finality_depth=2,
        block_time_ms=1_000,
        endpoints=("http://127.0.0.1:8545",),
    )


def a_network(home: Path) -> Network:
    genesis = Genesis(
        root_genesis=Bytes32(b"\x01" * 32),
        validators=_VALIDATORS,
        f=1,
        t=2,
        operators=(Address(b"\x09" * 20),),
        attestation=Attestation.NONE,
        nonce=Bytes32(b"\x02" * 32),
    )
    return Network(
        home=home,
        id=network_id(genesis),
        genesis=genesis,
        root="fabric",
        epoch=Epoch(1),
        q=3,
        group_key=b"\x02" * 33,
        lanes={
            "fabric": _fabric(home),
            "ethereum": _ethereum(),
        },
        validators=tuple(
            ValidatorSite(index=i, address=a, url=f"http://127.0.0.1:{8000 + i}")
            for i, a in enumerate(_VALIDATORS, start=1)
        ),
        relay_url="http://127.0.0.1:8100",
        content_url="http://127.0.0.1:8101",
        host_url=None,
        versions={"caimi": "0.1.0"},
    )
