// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Application} from "./Application.sol";
import {Inference} from "./Inference.sol";
import {Locks} from "./Locks.sol";
import {Money} from "./Money.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Genesis, Lane} from "./libs/Records.sol";
import {BadEncoding, UnknownFunction} from "./libs/Errors.sol";

/// @title A CAIMI registry on an EVM chain (spec 30)
/// @notice Home of some publications and mirror of others. Authority is the signature in the call; the sender grants
/// nothing but the right to pay for the transaction. Every entry point: AUTHORITY – REPEAT – CHECKS – EFFECTS – EVENT.
contract CaimiRegistry is Locks, Application, Money, Inference {
    uint256 private constant MAX_CALLS = 1000;

    /// @param genesis descriptor of the network: first validator set, f, t and host operators
    /// @param minDeposit smallest deposit of a publication, in the token's smallest unit; at least 1
    /// @param clockWindow seconds by which this chain's clock may be off; below 2^32
    /// @param token ERC-20 with EIP-2612
    constructor(Genesis memory genesis, uint128 minDeposit, uint64 clockWindow, address token)
        RegistryStorage(genesis, minDeposit, clockWindow, token)
    {}

    /// @notice No other function exists, and no ether is taken.
    fallback() external {
        revert UnknownFunction();
    }

    /// @notice The calls in order, all or nothing, not nested.
    /// @param calls at most 1,000 calls of this registry's functions, selector and arguments
    /// @return results what each call returned
    function multicall(bytes[] calldata calls) external onOwnChain returns (bytes[] memory results) {
        require(calls.length <= MAX_CALLS, BadEncoding());
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            require(bytes4(calls[i]) != this.multicall.selector, BadEncoding());
            results[i] = Address.functionDelegateCall(address(this), calls[i]);
        }
    }

    /// @notice Version of the registry's rules.
    function version() external pure returns (uint16) {
        return 1;
    }

    /// @notice This registry as a source of events.
    function lane() external view returns (Lane memory) {
        return _laneAt(HERE);
    }

    /// @notice The present validators in signer order, with their epoch, f and t.
    function validatorSet() external view returns (uint64 epoch, uint8 f, uint8 t, address[] memory validators) {
        return (_epoch, _f, _t, _validators);
    }

    /// @notice Number of events emitted so far: the last one's sequence number.
    function eventCount() external view returns (uint64) {
        return _eventCount;
    }

    /// @notice Whether an event of another registry was applied here.
    /// @param source registry that emitted it
    /// @param generation of that lane
    /// @param sequence the event's number there
    function isMarked(Lane calldata source, uint64 generation, uint64 sequence) external view returns (bool) {
        return _marks[CaimiWire.laneKey(source)][generation][sequence >> 8] >> (sequence & 0xff) & 1 == 1;
    }

    /// @notice One publication here; all zero if it is unknown.
    /// @param id digest of the publication
    /// @return role 1 home, 2 mirror
    /// @return state spec 30 §2
    /// @return publisher who signed it
    /// @return name as signed; of a REFUSED publication it may be any bytes
    /// @return version_ as signed
    /// @return home registry that decides
    /// @return mirrors registries that follow
    /// @return deposit escrowed here now
    /// @return deadline last second at which home may commit
    /// @return awaited mirrors that home still waits for
    /// @return reason why home aborted
    function publication(bytes32 id)
        external
        view
        returns (
            uint8 role,
            uint8 state,
            address publisher,
            string memory name,
            uint64 version_,
            Lane memory home,
            Lane[] memory mirrors,
            uint128 deposit,
            uint64 deadline,
            uint8 awaited,
            uint8 reason
        )
    {
        PublicationRecord storage record = _publications[id];
        role = uint8(record.role);
        state = uint8(record.state);
        publisher = record.publisher;
        name = record.name;
        version_ = record.version;
        if (role != 0) home = _laneAt(record.home);
        mirrors = _mirrorsOf(record);
        deposit = record.deposit;
        deadline = record.deadline;
        awaited = record.awaited;
        reason = uint8(record.reason);
    }
}
