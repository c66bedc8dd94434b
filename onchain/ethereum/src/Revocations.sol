// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Decisions} from "./Decisions.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Kind, Lane, Revocation, Role} from "./libs/Records.sol";
import {AlreadyDecided, Expired, UnknownPublication, WrongSigner} from "./libs/Errors.sol";

/// @title Taking publications back (spec 30 §3)
abstract contract Revocations is Decisions {
    /// @notice Take a publication back for ever, by its publisher's word; the other registries are told. Anyone may
    /// submit it.
    /// @param revocation what the publisher signed, for this registry
    /// @param signature the publisher's, 65 bytes r ‖ s ‖ v
    function revoke(Revocation calldata revocation, bytes calldata signature) external onOwnChain {
        // AUTHORITY
        address account = revocation.publisher;
        bytes32 digest = _verifySigner(CaimiWire.hash(revocation), signature, account);
        _checkLane(revocation.target);
        // REPEAT
        if (_isRepeated(account, revocation.nonce, digest)) return;
        // CHECKS
        require(_now() <= revocation.deadline, Expired(revocation.deadline, _now()));
        bytes32 id = revocation.publication;
        PublicationRecord storage record = _publications[id];
        require(record.role != Role.NONE, UnknownPublication(id));
        require(record.publisher == account, WrongSigner(record.publisher, account));
        // EFFECTS
        (uint16 refusal, bool fresh) = _takeRevocation(record);
        require(refusal == 0, AlreadyDecided(uint8(record.state)));
        // Another registry, or another signature here, has told it already.
        if (!fresh) return;
        _nonces[account][revocation.nonce] = digest;
        // EVENT
        _emit(Kind.REVOKED, _othersOf(record), id, abi.encode(revocation.reason, revocation.target));
    }

    // The registries of a publication without this one: home, then mirrors in their order.
    function _othersOf(PublicationRecord storage record) private view returns (Lane[] memory others) {
        others = _mirrorsOf(record.parties);
        uint32 home = _partyAt(record.parties, 0);
        if (home == HERE) return others;
        // This registry is one of the mirrors: those before it move up, and home comes to the front.
        uint256 place = others.length;
        while (_partyAt(record.parties, place) != HERE) place--;
        for (place--; place > 0; place--) {
            others[place] = others[place - 1];
        }
        others[0] = _laneAt(home);
    }
}
