// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Parties} from "./Parties.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Lane} from "./libs/Records.sol";

/// @title What a registry shows (spec 30 §6)
abstract contract Views is Parties {
    /// @notice Version of the registry's rules.
    function version() external pure returns (uint16) {
        return RULES_VERSION;
    }

    /// @notice Network id: hash of the genesis descriptor.
    function network() external view returns (bytes32) {
        return _network;
    }

    /// @notice Smallest deposit of a publication whose home is here, in the token's smallest unit; at least 1.
    function minDeposit() external view returns (uint128) {
        return _minDeposit;
    }

    /// @notice Seconds by which this chain's clock may be off.
    function clockWindow() external view returns (uint64) {
        return _clockWindow;
    }

    /// @notice The ERC-20 with EIP-2612 in which deposits are made.
    function token() external view returns (address) {
        return _token;
    }

    /// @notice Registry balance of an account, in the token's smallest unit.
    function balance(address account) external view returns (uint128) {
        return _balances[account];
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

    /// @notice Whether a publication's revocation by its publisher is known here: it waits while LOCKED and has no effect once
    /// ABORTED.
    /// @param id digest of the publication
    function isRevoked(bytes32 id) external view returns (bool) {
        return _publications[id].revoked;
    }

    /// @notice One batch here; all zero if it is unknown. At a mirror deadlines, deposits and awaited are zero.
    /// @param home registry that locked it
    /// @param root of its publications' ids (spec 37 §1)
    /// @return role 1 home, 2 mirror
    /// @return state spec 30 §2
    /// @return count of publications; 0 at a mirror until home has decided
    /// @return taken bit i: the publication at index i was taken out before home decided
    /// @return earliest deadline of its publications: last second at which home may commit
    /// @return latest deadline of its publications: home may abort after it
    /// @return deposits escrowed here now, for those that were not taken out
    /// @return awaited mirrors that home still waits for
    /// @return reason why home aborted
    function batch(Lane calldata home, bytes32 root)
        external
        view
        returns (
            uint8 role,
            uint8 state,
            uint16 count,
            uint256 taken,
            uint64 earliest,
            uint64 latest,
            uint128 deposits,
            uint8 awaited,
            uint8 reason
        )
    {
        BatchRecord storage record = _batches[CaimiWire.laneKey(home)][root];
        BatchHead memory head = record.head;
        (role, state, count, taken) = (head.role, head.state, head.count, record.taken);
        (earliest, latest, deposits) = (head.earliest, head.latest, record.deposits);
        (awaited, reason) = (head.awaited, head.reason);
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
        if (role != 0) (home, mirrors) = (_laneAt(_partyAt(record.parties, 0)), _mirrorsOf(record.parties));
        deposit = record.deposit;
        deadline = record.deadline;
        awaited = record.awaited;
        reason = uint8(record.reason);
    }
}
