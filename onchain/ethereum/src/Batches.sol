// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchApplication} from "./BatchApplication.sol";
import {Reservations} from "./Reservations.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Kind, Lane, Publication, Role, State} from "./libs/Records.sol";
import {BadEncoding, BatchItem, BatchTooLong, EmptyBatch, Refusals} from "./libs/Errors.sol";
import {Merkle} from "./libs/Merkle.sol";
import {Publications} from "./libs/Publications.sol";
import {Signatures} from "./libs/Signatures.sol";

/// @title Locking many publications in one call (spec 37 §2)
/// @notice What costs the same for any number is stored once. For each publication two slots are written: its id under its
/// nonce, and its name; the ids are logged.
abstract contract Batches is Reservations, BatchApplication {
    /// @notice The publications of a batch, in their order; beside its BATCH_LOCKED.
    event BatchIds(bytes32 indexed root, bytes32[] ids);

    /// @notice Lock publications at home as one batch, all or none. Anyone may submit it.
    /// @param publications 1 to 256 of this home and of the same mirrors, each signed by its publisher
    /// @param signatures of each, 65 bytes r ‖ s ‖ v
    /// @return root of their ids
    function lockBatch(Publication[] calldata publications, bytes[] calldata signatures)
        external
        onOwnChain
        returns (bytes32 root)
    {
        uint256 count = publications.length;
        require(count != 0, EmptyBatch());
        require(count <= MAX_BATCH, BatchTooLong(MAX_BATCH, count));
        require(signatures.length == count, BadEncoding());
        // AUTHORITY
        bytes32[] memory ids = new bytes32[](count);
        bytes32[] memory leaves = new bytes32[](count);
        for (uint256 i = 0; i < count; i++) {
            Publication calldata p = publications[i];
            bytes32 id = CaimiWire.typedDigest(_domain, CaimiWire.hash(p));
            _checkItem(i, _signerFault(id, signatures[i], p.publisher));
            ids[i] = id;
            leaves[i] = CaimiWire.batchLeaf(i, id);
        }
        root = Merkle.root(leaves);
        // REPEAT
        BatchRecord storage batch = _batches[_ownKey()][root];
        if (batch.head.role != 0) return root;
        // CHECKS – EFFECTS, item by item: whatever one of them is refused with undoes all
        _checkRunning();
        BatchHead memory head;
        batch.deposits = _reserveAll(ids, publications, head);
        Lane[] calldata mirrors = publications[0].mirrors;
        (head.role, head.state) = (uint8(Role.HOME), uint8(State.LOCKED));
        head.count = uint16(count);
        head.parties = _partiesOf(publications[0].home, mirrors);
        bool refused = _countEarlyAnswers(root, mirrors, head);
        // EVENT
        emit BatchIds(root, ids);
        _emit(Kind.BATCH_LOCKED, mirrors, root, abi.encode(count));
        _meetBatchAnswers(root, batch, head, refused);
    }

    // Takes from each publisher; puts the earliest and the latest deadline into `head`.
    function _reserveAll(bytes32[] memory ids, Publication[] calldata publications, BatchHead memory head)
        private
        returns (uint128 deposits)
    {
        bytes32 mirrors = CaimiWire.concatHash(publications[0].mirrors);
        uint64 unlockedUntil = _unlockedUntil;
        uint64 earliest = type(uint64).max;
        uint64 latest = 0;
        for (uint256 i = 0; i < ids.length; i++) {
            Publication calldata p = publications[i];
            uint64 deadline = p.deadline;
            uint16 code = 0;
            if (!_isHere(p.home)) {
                code = Refusals.NOT_HOME;
            } else if (CaimiWire.concatHash(p.mirrors) != mirrors) {
                code = Refusals.BAD_MIRRORS;
            } else if (deadline <= unlockedUntil && _publications[ids[i]].role != Role.NONE) {
                code = Refusals.KNOWN_PUBLICATION;
            }
            // The others have the mirrors of the first.
            else {
                code = i == 0 ? Publications.permanentReason(p) : Publications.reasonBesidesMirrors(p);
            }
            if (code == 0) code = _reserve(ids[i], p);
            _checkItem(i, code);
            deposits += p.deposit;
            if (deadline < earliest) earliest = deadline;
            if (deadline > latest) latest = deadline;
        }
        (head.earliest, head.latest) = (earliest, latest);
    }

    function _countEarlyAnswers(bytes32 root, Lane[] calldata mirrors, BatchHead memory head)
        private
        view
        returns (bool refused)
    {
        head.awaited = uint8(mirrors.length);
        for (uint256 i = 0; i < mirrors.length; i++) {
            State answer = _earlyBatchAnswers[root][CaimiWire.laneKey(mirrors[i])];
            if (answer == State.NONE) continue;
            head.answered |= uint8(1 << i);
            head.awaited--;
            refused = refused || answer == State.REFUSED;
        }
    }

    function _signerFault(bytes32 id, bytes calldata signature, address account) private pure returns (uint16) {
        (address signer, uint16 code) = Signatures.tryRecover(id, signature);
        if (code != 0) return code;
        return signer == account ? 0 : Refusals.WRONG_SIGNER;
    }

    function _checkItem(uint256 index, uint16 code) private pure {
        require(code == 0, BatchItem(uint16(index), code));
    }
}
