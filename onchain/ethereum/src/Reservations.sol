// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {NewRecords} from "./NewRecords.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Publication} from "./libs/Records.sol";
import {LowBalance, NameTaken, NearDeadline, NonceUsed, PastDeadline, Refusals, SmallDeposit} from "./libs/Errors.sol";
import {Publications} from "./libs/Publications.sol";

/// @title What a lock takes from its publisher at home: deposit, nonce and name, alone or in a batch (spec 30 §3)
abstract contract Reservations is NewRecords {
    // Takes all of it, or nothing and answers the code of the first check that fails. The permanent reasons come before it:
    // what was locked here before has none of them, so that it is found to be known here, and in its turn.
    function _reserve(bytes32 id, Publication calldata p) internal returns (uint16) {
        // CHECKS
        address publisher = p.publisher;
        (uint64 deadline, uint64 version, uint128 deposit) = (p.deadline, p.version, p.deposit);
        mapping(bytes32 => bytes32) storage nonces = _nonces[publisher];
        bytes32 used = nonces[p.nonce];
        if (used == id) return Refusals.KNOWN_PUBLICATION;
        if (_now() > deadline) return Refusals.PAST_DEADLINE;
        if (deadline < _earliestDeadline()) return Refusals.NEAR_DEADLINE;
        if (deposit < _minDeposit) return Refusals.SMALL_DEPOSIT;
        if (used != 0) return Refusals.NONCE_USED;
        mapping(uint256 => uint256) storage names = _takenNames[publisher][CaimiWire.textHash(bytes(p.name))];
        uint256 bit = 1 << (version & 0xff);
        uint256 taken = names[version >> 8];
        if (taken & bit != 0) return Refusals.NAME_TAKEN;
        uint128 have = _balances[publisher];
        if (have < deposit) return Refusals.LOW_BALANCE;
        // EFFECTS
        unchecked {
            _balances[publisher] = have - deposit;
        }
        nonces[p.nonce] = id;
        names[version >> 8] = taken | bit;
        return 0;
    }

    // Revert with the refusal of a lock that has this code.
    function _refuseLock(Publication calldata p, uint16 code) internal view {
        if (code == Refusals.PAST_DEADLINE) revert PastDeadline(p.deadline, _now());
        if (code == Refusals.NEAR_DEADLINE) revert NearDeadline(p.deadline, _earliestDeadline());
        if (code == Refusals.SMALL_DEPOSIT) revert SmallDeposit(_minDeposit, p.deposit);
        if (code == Refusals.NONCE_USED) revert NonceUsed(p.nonce);
        if (code == Refusals.NAME_TAKEN) revert NameTaken();
        if (code == Refusals.LOW_BALANCE) revert LowBalance(p.deposit, _balances[p.publisher]);
        Publications.refuse(p, code);
    }

    // Whether a lock of this very publication, alone or in a batch, has used its nonce.
    function _isLockedHere(bytes32 id, Publication calldata p) internal view returns (bool) {
        return _nonces[p.publisher][p.nonce] == id;
    }

    function _earliestDeadline() private view returns (uint64) {
        return _now() + 2 * _clockWindow;
    }
}
