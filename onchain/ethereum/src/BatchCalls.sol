// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchDecisions} from "./BatchDecisions.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {AbortReason, Kind, Lane, Role, State} from "./libs/Records.sol";
import {NotLocked, OwnEvents, UnknownBatch, ZeroRoot} from "./libs/Errors.sol";

/// @title What anyone may ask of a registry about a batch (spec 37 §2, §3)
abstract contract BatchCalls is BatchDecisions {
    /// @notice At a mirror: promise that what home decides about this root holds here.
    /// @param home registry that locks the batch, or has locked it
    /// @param root of its publications' ids
    function answerBatch(Lane calldata home, bytes32 root) external onOwnChain {
        // AUTHORITY
        require(!_isHere(home), OwnEvents());
        // REPEAT
        BatchHead storage head = _batches[CaimiWire.laneKey(home)][root].head;
        if (head.role != 0) return;
        // CHECKS
        _checkRunning();
        require(root != 0, ZeroRoot());
        // EFFECTS
        (head.role, head.state) = (uint8(Role.MIRROR), uint8(State.LOCKED));
        // EVENT
        _emitTo(Kind.BATCH_ANSWERED, home, root, abi.encode(RULES_VERSION, home));
    }

    /// @notice Abort a batch at home after its latest deadline. Anyone may.
    /// @param root of its publications' ids
    function abortBatch(bytes32 root) external onOwnChain {
        // AUTHORITY
        BatchRecord storage batch = _batches[_ownKey()][root];
        BatchHead memory head = batch.head;
        require(head.role != 0, UnknownBatch(root));
        // REPEAT
        if (head.state == uint8(State.ABORTED)) return;
        // CHECKS
        require(head.state == uint8(State.LOCKED), NotLocked(head.state));
        _checkPassed(head.latest);
        // EFFECTS
        (head.state, head.reason) = (uint8(State.ABORTED), uint8(AbortReason.DEADLINE));
        (batch.head.state, batch.head.reason) = (head.state, head.reason);
        // EVENT
        _tellOutcome(root, batch, head);
    }
}
