// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Decisions} from "./Decisions.sol";
import {AbortReason, Kind, State} from "./libs/Records.sol";

/// @title How home decides a batch (spec 37 §2)
abstract contract BatchDecisions is Decisions {
    // Writes the head, and what the mirrors told so far decides a LOCKED batch at home.
    function _meetBatchAnswers(bytes32 root, BatchRecord storage batch, BatchHead memory head, bool refused) internal {
        // Rules of another version might refuse what these found lawful: such a batch is published one by one.
        if (refused) (head.state, head.reason) = (uint8(State.ABORTED), uint8(AbortReason.MIRROR_REFUSED));
        else if (head.awaited == 0) head.state = uint8(State.COMMITTED);
        batch.head = head;
        if (head.state != uint8(State.LOCKED)) _tellOutcome(root, batch, head);
    }

    // The one outcome of all publications that were not taken out, to the mirrors.
    function _tellOutcome(bytes32 root, BatchRecord storage batch, BatchHead memory head) internal {
        bytes memory body = abi.encode(head.state, head.reason, head.count, _takenOf(batch, head));
        _emit(Kind.BATCH_OUTCOME, _mirrorsOf(head.parties), root, body);
    }

    function _takenOf(BatchRecord storage batch, BatchHead memory head) internal view returns (uint256) {
        return head.thinned ? batch.taken : 0;
    }
}
