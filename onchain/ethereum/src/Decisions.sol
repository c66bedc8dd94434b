// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Parties} from "./Parties.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {AbortReason, Action, Kind, Lane, State} from "./libs/Records.sol";
import {Decision} from "./libs/Bodies.sol";
import {Refusals} from "./libs/Errors.sol";

/// @title How home decides and what a decision moves (spec 30 §2)
/// @notice Each transition of the table is in the function of its input; the caller has checked the state before it.
abstract contract Decisions is Parties {
    // What the mirrors told so far decides a LOCKED publication at home.
    function _meetAnswers(bytes32 id, PublicationRecord storage record, bool refused) internal {
        if (refused) _abortHome(id, record, AbortReason.MIRROR_REFUSED);
        else if (record.awaited == 0) _commitHome(id, record);
    }

    // Home aborts: deposit back, outcome to the mirrors.
    function _abortHome(bytes32 id, PublicationRecord storage record, AbortReason reason) internal {
        _settleAbort(record, reason);
        _emit(Kind.OUTCOME, _mirrorsOf(record.parties), id, abi.encode(State.ABORTED, uint16(reason)));
    }

    // ABORTED at home, deposit back; its batch, or the caller, tells it.
    function _settleAbort(PublicationRecord storage record, AbortReason reason) internal {
        record.state = State.ABORTED;
        record.reason = reason;
        _giveBack(record);
    }

    // The last mirror has locked.
    function _commitHome(bytes32 id, PublicationRecord storage record) internal {
        _emit(Kind.OUTCOME, _mirrorsOf(record.parties), id, abi.encode(State.COMMITTED, uint16(AbortReason.NONE)));
        _settleCommit(id, record);
    }

    // COMMITTED at home: versions meet, a revocation that waited takes effect; its batch, or the caller, tells it.
    function _settleCommit(bytes32 id, PublicationRecord storage record) internal {
        record.state = State.COMMITTED;
        _meetRival(id, record);
        if (record.revoked) _revoke(record);
    }

    // The name's latest version, or superseded by it at once.
    function _meetRival(bytes32 id, PublicationRecord storage record) private {
        mapping(bytes32 => bytes32) storage latest = _latest[record.publisher];
        bytes32 nameHash = keccak256(bytes(record.name));
        bytes32 rivalId = latest[nameHash];
        if (rivalId == 0) {
            latest[nameHash] = id;
            return;
        }
        PublicationRecord storage rival = _publications[rivalId];
        if (rival.version > record.version) {
            _supersede(id, record, rival.version);
            return;
        }
        latest[nameHash] = id;
        // A REVOKED version stays the latest until a higher one is committed.
        if (rival.state == State.COMMITTED) _supersede(rivalId, rival, record.version);
    }

    // A publisher's revocation: at once, or while LOCKED together with COMMITTED. `refusal` is 0 or ALREADY_DECIDED;
    // `fresh` is false if the revocation was known.
    function _takeRevocation(PublicationRecord storage record) internal returns (uint16 refusal, bool fresh) {
        State state = record.state;
        if (state == State.ABORTED || state == State.REFUSED) return (Refusals.ALREADY_DECIDED, false);
        if (record.revoked) return (0, false);
        record.revoked = true;
        if (state != State.LOCKED) _revoke(record);
        return (0, true);
    }

    // A decision about a lane that was found lawful, here or by the root.
    function _decide(GovernedLane storage governed, Decision memory d) internal {
        governed.version = d.version;
        governed.raised = d.generation - FIRST_GENERATION;
        governed.height = d.height;
        governed.dropped = d.action == Action.DROP_LANE;
        governed.blockHash = d.blockHash;
    }

    // Whether a mirror in `state` moves when its home says `outcome`, and whether it is there already.
    function _followStep(State state, State outcome) internal pure returns (bool moves, bool there) {
        if (state == outcome || (state == State.SUPERSEDED && outcome == State.COMMITTED)) return (false, true);
        if (state == State.REVOKED) return (false, outcome != State.ABORTED);
        if (state == State.LOCKED) return (true, false);
        if (state == State.REFUSED) return (outcome == State.ABORTED, false);
        return (state == State.COMMITTED && outcome == State.SUPERSEDED, false);
    }

    // The state of a mirror that follows its home: what waited for COMMITTED takes effect with it.
    function _following(State outcome, bool revoked) internal pure returns (State) {
        return revoked && outcome != State.ABORTED ? State.REVOKED : outcome;
    }

    function _supersede(bytes32 id, PublicationRecord storage record, uint64 byVersion) private {
        record.state = State.SUPERSEDED;
        _giveBack(record);
        _emit(Kind.SUPERSEDED, _mirrorsOf(record.parties), id, abi.encode(byVersion));
    }

    function _revoke(PublicationRecord storage record) private {
        record.state = State.REVOKED;
        _giveBack(record);
    }

    function _giveBack(PublicationRecord storage record) private {
        uint128 deposit = record.deposit;
        if (deposit == 0) return;
        record.deposit = 0;
        _credit(record.publisher, deposit);
    }
}
