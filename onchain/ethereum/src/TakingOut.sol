// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchDecisions} from "./BatchDecisions.sol";
import {NewRecords} from "./NewRecords.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {AbortReason, BatchProof, Kind, Publication, Role, State} from "./libs/Records.sol";
import {
    ItemOutOfRun,
    NotDecided,
    TakenOut,
    UnknownBatch,
    WrongAuthority,
    WrongRegistry,
    WrongRoot
} from "./libs/Errors.sol";
import {Merkle} from "./libs/Merkle.sol";

/// @title Taking a publication out of its batch, and reading it there (spec 37 §4, §5)
abstract contract TakingOut is NewRecords, BatchDecisions {
    /// @notice Give a publication of a batch its own record here. Anyone may submit it.
    /// @param publication what the publisher signed; its home or one of its mirrors is this registry
    /// @param signature the publisher's, 65 bytes r ‖ s ‖ v
    /// @param proof that it is in a batch of its home
    /// @return id digest of the publication
    function takeOut(Publication calldata publication, bytes calldata signature, BatchProof calldata proof)
        external
        onOwnChain
        returns (bytes32 id)
    {
        // AUTHORITY
        id = _verifySigner(CaimiWire.hash(publication), signature, publication.publisher);
        bool home = _isHere(publication.home);
        if (!home && !_isHereAmong(publication.mirrors)) revert WrongRegistry(publication.home.registry, _registry);
        // REPEAT
        if (_speaksForItself(_publications[id])) return id;
        // CHECKS
        bytes32 homeKey = CaimiWire.laneKey(proof.home);
        require(homeKey == CaimiWire.laneKey(publication.home), WrongAuthority());
        BatchRecord storage batch = _batches[homeKey][proof.root];
        BatchHead memory head = batch.head;
        require(head.role != 0, UnknownBatch(proof.root));
        require(home || head.state != uint8(State.LOCKED), NotDecided());
        _checkProof(id, proof, head.count);
        // CHECKS – EFFECTS – EVENT
        if (home) {
            _takeOutAtHome(id, publication, batch, head, proof.index);
        } else {
            require(!_isTaken(batch, head, proof.index), TakenOut());
            _takeOutAtMirror(id, publication, homeKey, State(head.state));
        }
    }

    /// @notice What is known here of a publication, by its own record and by its batch.
    /// @param id digest of the publication
    /// @param proof that it is in a batch; not looked at where its own record says it all
    /// @return role 1 home, 2 mirror
    /// @return state spec 30 §2; NONE if home took it out before it decided, and nothing is known of it alone
    function stateIn(bytes32 id, BatchProof calldata proof) external view returns (uint8 role, uint8 state) {
        bytes32 homeKey = CaimiWire.laneKey(proof.home);
        BatchRecord storage batch = _batches[homeKey][proof.root];
        BatchHead memory head = batch.head;
        require(head.role != 0, UnknownBatch(proof.root));
        PublicationRecord storage record = _publications[id];
        if (_speaksForItself(record)) return (uint8(record.role), uint8(record.state));
        (role, state) = (head.role, head.state);
        bool mirror = role == uint8(Role.MIRROR);
        // How wide the batch is, home has not told yet.
        if (mirror && state == uint8(State.LOCKED)) return (role, state);
        _checkProof(id, proof, head.count);
        if (mirror && _isTaken(batch, head, proof.index)) return (role, uint8(record.state));
        if (state != uint8(State.COMMITTED)) return (role, state);
        return (role, uint8(_stateWithin(id, record, homeKey, head.parties)));
    }

    function _takeOutAtHome(
        bytes32 id,
        Publication calldata p,
        BatchRecord storage batch,
        BatchHead memory head,
        uint256 index
    ) private {
        // CHECKS: until then the batch may still commit
        bool undecided = head.state == uint8(State.LOCKED);
        if (undecided) _checkPassed(head.earliest);
        // EFFECTS
        (uint8 answered, uint8 awaited, bool refused, bool revoked) = _earlyAnswersOf(id, p.mirrors);
        PublicationRecord storage record = _publications[id];
        _store(record, p);
        (record.role, record.state, record.answered) = (Role.HOME, State.LOCKED, answered);
        record.deposit = p.deposit;
        batch.deposits -= p.deposit;
        if (head.state == uint8(State.ABORTED)) {
            record.awaited = head.awaited;
            _settleAbort(record, AbortReason(head.reason));
            return;
        }
        record.revoked = revoked;
        if (!undecided) {
            _settleCommit(id, record);
            return;
        }
        batch.taken |= 1 << index;
        batch.head.thinned = true;
        // EVENT
        _emit(Kind.LOCKED, p.mirrors, id, abi.encode(Role.HOME, p.home));
        bool late = _now() > p.deadline;
        record.awaited = late ? uint8(p.mirrors.length) : awaited;
        if (late) _abortHome(id, record, AbortReason.DEADLINE);
        else _meetAnswers(id, record, refused);
    }

    // It follows its batch, and what waited takes effect. Home has told, so nothing is told here.
    function _takeOutAtMirror(bytes32 id, Publication calldata p, bytes32 homeKey, State decided) private {
        PublicationRecord storage record = _publications[id];
        if (record.role == Role.NONE) {
            _store(record, p);
            record.role = Role.MIRROR;
            record.revoked = _earlyRevocationOf(id, p);
        }
        EarlyWord storage early = _early[id][homeKey];
        State told = early.outcome;
        if (told != State.NONE) early.outcome = State.NONE;
        // Of what home told of the id itself only SUPERSEDED can come after the batch's outcome.
        bool superseded = decided == State.COMMITTED && told == State.SUPERSEDED;
        record.state = _following(superseded ? State.SUPERSEDED : decided, record.revoked);
    }

    // Whether a record says more than its batch: a mirror's own LOCKED one gives way to it.
    function _speaksForItself(PublicationRecord storage record) private view returns (bool) {
        return record.role == Role.HOME || record.state > State.LOCKED;
    }

    // Of a COMMITTED batch's publication: whether SUPERSEDED or REVOKED was told and waits here.
    function _stateWithin(bytes32 id, PublicationRecord storage record, bytes32 homeKey, uint32 parties)
        private
        view
        returns (State)
    {
        if (record.revoked) return State.REVOKED;
        if (!record.told) return State.COMMITTED;
        for (uint256 i = 0; _partyAt(parties, i) != 0; i++) {
            if (_early[id][_keyAt(_partyAt(parties, i))].revoked) return State.REVOKED;
        }
        return _early[id][homeKey].outcome == State.SUPERSEDED ? State.SUPERSEDED : State.COMMITTED;
    }

    function _isTaken(BatchRecord storage batch, BatchHead memory head, uint256 index) private view returns (bool) {
        return _takenOf(batch, head) >> index & 1 == 1;
    }

    function _checkProof(bytes32 id, BatchProof calldata proof, uint256 count) private pure {
        require(proof.index < count, ItemOutOfRun(proof.index));
        bytes32 leaf = CaimiWire.batchLeaf(proof.index, id);
        bytes32 root = Merkle.pathRoot(count, proof.index, leaf, proof.siblings);
        require(root == proof.root, WrongRoot(proof.root, root));
    }
}
