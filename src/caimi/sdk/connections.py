"""Open connections of a client: services over HTTP, readers of both ledgers, the content store."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import httpx2

from caimi.chains.ethereum.finality import DepthFinality
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.reader import EthereumReader, RegistrySite
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.identity import load_identity
from caimi.chains.fabric.registry import FabricRegistry
from caimi.ports.chain import BoardMessage, ChainReader, ChainUnavailable
from caimi.ports.registry_views import read_lease
from caimi.sdk.errors import KeyFileError, MalformedFile, NoBoard, NoHost
from caimi.sdk.network import EthereumLane, FabricLane, Network
from caimi.sdk.patience import LEDGER_PATIENCE_S, Patience, PatientReader, PatientStore
from caimi.sdk.services import Service
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.transfer import Content
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Lane, LeaseRequest

if TYPE_CHECKING:
    from caimi.sdk.direct_wire import DirectWire

__all__ = ["Connections", "home_token"]

T = TypeVar("T")

_TOKEN_NAME: Final = "token"
_DIRECT_CONNECTIONS: Final = 1024


def home_token(home: Path) -> str | None:
    """The token of a state folder's processes, for changing calls; None if it has none.

    Raises:
        MalformedFile: It cannot be read.
    """
    try:
        return (home / _TOKEN_NAME).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedFile(f"cannot read {home / _TOKEN_NAME}") from error


class Connections:
    """Made when first needed, closed together."""

    def __init__(self, network: Network, *, token: str | None, patience: Patience | None = None) -> None:
        """Arguments:
        token: of the state folder, for changing calls.
        patience: with whatever does not answer; by default none with processes, and that of `PatientReader` with nodes.
        """
        self.network = network
        self._token = token
        self._patience = patience
        self._stack = AsyncExitStack()
        self._http: httpx2.AsyncClient | None = None
        self._readers: dict[str, ChainReader] = {}
        self._content: Content | None = None
        self._board: FabricRegistry | None = None

    async def close(self) -> None:
        """Close everything that was opened."""
        await self._stack.aclose()

    @property
    def relay(self) -> Service:
        """The relay."""
        return self.service(self.network.relay_url, name="the relay")

    def service(self, url: str, *, name: str | None = None, patience: Patience | None = None) -> Service:
        """A process at that address.

        Arguments:
            name: for people.
            patience: another one than that of these connections.
        """
        if self._http is None:
            # Everything listens on the loopback without TLS; a proxy of the environment has no place in between.
            self._http = httpx2.AsyncClient(verify=False, trust_env=False)
            self._stack.push_async_callback(self._http.aclose)
        return Service(url, self._http, token=self._token, name=name, patience=patience or self._patience)

    def host_wire(self) -> DirectWire:
        """A line to the network's host for direct calls.

        Raises:
            NoHost: The network has none.
        """
        # What it needs to know of tensors takes long to load.
        from caimi.sdk.direct_wire import DirectWire

        if self.network.host_url is None:
            raise NoHost("network.json names no host")
        wire = DirectWire(self.network.host_url, connections=_DIRECT_CONNECTIONS)
        self._stack.push_async_callback(wire.close)
        return wire

    @property
    def content(self) -> Content:
        """The content store, for uploads and verified reads."""
        if self._content is None:
            server = HttpBlockStore(self.network.content_url, token=self._token)
            self._stack.push_async_callback(server.close)
            store = PatientStore(server, self._patience or Patience())
            self._content = Content(sources=[store], store=store)
        return self._content

    def reader(self, name: str) -> ChainReader:
        """The ledger of that lane, read directly.

        Raises:
            UnknownName: There is no such lane.
        """
        if name not in self._readers:
            lane = self.network.lane(name)
            reader = self._ethereum(lane) if isinstance(lane, EthereumLane) else self._fabric(lane)
            self._readers[name] = PatientReader(reader, self._patience, name=f"the node of {name}")
        return self._readers[name]

    async def lease(self, identifier: Bytes32) -> LeaseRequest | None:
        """A lease as the board holds it, None if there is none.

        Raises:
            NoBoard: The network has no board that could be asked.
            ChainError: Of the board's ledger.
        """
        board = self._open_board()
        return await self._ask_board(lambda: board.view("lease", read_lease, identifier))

    async def key_messages(self) -> tuple[BoardMessage, ...]:
        """Messages of the epoch's key ceremonies, in the order of the board's ledger. Raises as `lease`."""
        board = self._open_board()
        await self._ask_board(board.index.advance)
        return board.index.posts(self.network.epoch)

    @property
    def board_lane(self) -> Lane:
        """The lane whose registry is the board. Raises `NoBoard`."""
        return self._open_board().lane

    def _open_board(self) -> FabricRegistry:
        if self._board is None:
            lane = next((lane for lane in self.network.lanes.values() if isinstance(lane, FabricLane)), None)
            if lane is None:
                raise NoBoard("network.json has no Fabric lane")
            self._board = self._fabric(lane)
        return self._board

    async def _ask_board(self, ask: Callable[[], Awaitable[T]]) -> T:
        patience = self._patience or Patience(LEDGER_PATIENCE_S)
        return await patience.ask("the board", ask, ChainUnavailable)

    async def clock(self, name: str) -> UnixSeconds:
        """The lane's clock, or this machine's if that is later: Fabric's stands still between transactions."""
        return UnixSeconds(max((await self.reader(name).head()).time, int(time.time())))

    def _ethereum(self, lane: EthereumLane) -> EthereumReader:
        rpc = RpcClient(lane.endpoints[0], chain_id=lane.chain_id)
        self._stack.push_async_callback(rpc.close)
        site = RegistrySite(
            chain_id=lane.chain_id,
            contract=lane.contract,
            first_block=lane.first_block,
            finality=DepthFinality(lane.finality_depth),
        )
        return EthereumReader(rpc, site)

    def _fabric(self, lane: FabricLane) -> FabricRegistry:
        peer = lane.peers[0]
        identity = load_identity(peer.msp_id, peer.certificate, peer.key)
        try:
            authority = peer.tls_ca.read_bytes()
        except OSError as error:
            raise KeyFileError(f"cannot read {peer.tls_ca}: {error.strerror}") from error
        gateway = FabricGateway.connect(peer.endpoint, authority, identity, lane.channel)
        self._stack.push_async_callback(gateway.close)
        registry = FabricRegistry(gateway, lane=lane.lane, chaincode=lane.chaincode)
        self._stack.push_async_callback(registry.close)
        return registry
