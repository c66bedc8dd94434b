// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Decisions} from "./Decisions.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Lane, Publication, State} from "./libs/Records.sol";

/// @title How the record of a publication begins, and what was told before it
abstract contract NewRecords is Decisions {
    // Role and state are the caller's.
    function _store(PublicationRecord storage record, Publication calldata p) internal {
        record.publisher = p.publisher;
        record.deadline = p.deadline;
        record.version = p.version;
        record.name = p.name;
        record.parties = _partiesOf(p.home, p.mirrors);
    }

    // What the mirrors told before home knew the publication.
    function _earlyAnswersOf(bytes32 id, Lane[] calldata mirrors)
        internal
        view
        returns (uint8 answered, uint8 awaited, bool refused, bool revoked)
    {
        awaited = uint8(mirrors.length);
        for (uint256 i = 0; i < mirrors.length; i++) {
            EarlyWord storage early = _early[id][CaimiWire.laneKey(mirrors[i])];
            revoked = revoked || early.revoked;
            if (early.answer == State.NONE) continue;
            answered |= uint8(1 << i);
            awaited--;
            refused = refused || early.answer == State.REFUSED;
        }
    }

    // Whether home or another mirror told this mirror of a revocation; of lawful bytes, so at most 8 lanes.
    function _earlyRevocationOf(bytes32 id, Publication calldata p) internal view returns (bool) {
        if (!_publications[id].told) return false;
        if (_early[id][CaimiWire.laneKey(p.home)].revoked) return true;
        for (uint256 i = 0; i < p.mirrors.length; i++) {
            if (_early[id][CaimiWire.laneKey(p.mirrors[i])].revoked) return true;
        }
        return false;
    }
}
