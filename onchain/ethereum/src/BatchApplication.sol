// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchDecisions} from "./BatchDecisions.sol";
import {Bodies} from "./libs/Bodies.sol";
import {AbortReason, Disposition, Event, Lane, Role, State} from "./libs/Records.sol";
import {Refusals} from "./libs/Errors.sol";

/// @title Carried events about batches (spec 37): total, as `Application` says
abstract contract BatchApplication is BatchDecisions {
    // Most publications in a batch: as many as one word has bits.
    uint256 internal constant MAX_BATCH = 256;

    // A mirror's answer, at home.
    function _applyBatchAnswer(bytes32 source, bytes32 root, bytes calldata body)
        internal
        returns (Disposition, uint16)
    {
        (bool ok, uint256 version, bytes32 chain, bytes32 registry) = Bodies.readLock(body, type(uint16).max);
        if (!ok) return _refused(Refusals.BAD_BODY);
        if (chain != _chain || registry != _registry) return _refused(Refusals.WRONG_AUTHORITY);
        State answer = version == RULES_VERSION ? State.LOCKED : State.REFUSED;
        BatchRecord storage batch = _batches[_ownKey()][root];
        BatchHead memory head = batch.head;
        if (head.role == 0) {
            // The first answer stays.
            if (_earlyBatchAnswers[root][source] == State.NONE) _earlyBatchAnswers[root][source] = answer;
            return (Disposition.PENDING, 0);
        }
        uint8 bit = uint8(1 << _mirrorPlace(head.parties, source));
        if (bit == 0) return _refused(Refusals.WRONG_AUTHORITY);
        if (head.answered & bit != 0) return (Disposition.IGNORED, 0);
        if (head.state != uint8(State.LOCKED)) return _refused(Refusals.ALREADY_DECIDED);
        if (_now() > head.earliest) return _refused(Refusals.PAST_DEADLINE);
        head.answered |= bit;
        head.awaited--;
        _meetBatchAnswers(root, batch, head, answer == State.REFUSED);
        return (Disposition.APPLIED, 0);
    }

    // A home's outcome, at a mirror, before its own answer too. It goes to all mirrors, so they are its destinations.
    function _applyBatchOutcome(Lane calldata home, bytes32 source, Event calldata e)
        internal
        returns (Disposition, uint16)
    {
        (bool ok, uint256 outcome, uint256 reason, uint256 count, uint256 taken) = Bodies.readBatchOutcome(e.body);
        bool lawful = outcome == uint256(State.COMMITTED) || outcome == uint256(State.ABORTED);
        if (!ok || !lawful || count == 0 || count > MAX_BATCH || reason > uint256(type(AbortReason).max)) {
            return _refused(Refusals.BAD_BODY);
        }
        BatchRecord storage batch = _batches[source][e.subject];
        BatchHead memory head = batch.head;
        if (head.role != 0 && head.state != uint8(State.LOCKED)) {
            if (head.state == outcome) return (Disposition.IGNORED, 0);
            return _refused(Refusals.ALREADY_DECIDED);
        }
        head.role = uint8(Role.MIRROR);
        (head.state, head.reason, head.count) = (uint8(outcome), uint8(reason), uint16(count));
        head.parties = _partiesOf(home, e.destinations);
        head.thinned = taken != 0;
        batch.head = head;
        if (taken != 0) batch.taken = taken;
        return (Disposition.APPLIED, 0);
    }

    function _refused(uint16 code) internal pure returns (Disposition, uint16) {
        return (Disposition.REFUSED, code);
    }
}
