// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Reservations} from "./Reservations.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {AbortReason, Kind, Publication, Role, State} from "./libs/Records.sol";
import {InBatch, NotHome, NotLocked, UnknownPublication, WrongRegistry} from "./libs/Errors.sol";
import {Publications} from "./libs/Publications.sol";

/// @title Locking and aborting publications (spec 30 §3)
abstract contract Locks is Reservations {
    /// @notice Lock at home (escrow the deposit), or answer at a mirror (LOCKED or REFUSED). Anyone may submit it.
    /// @param publication what the publisher signed; its home or one of its mirrors is this registry
    /// @param signature the publisher's, 65 bytes r ‖ s ‖ v
    /// @return id digest of the publication
    function lockModel(Publication calldata publication, bytes calldata signature)
        external
        onOwnChain
        returns (bytes32 id)
    {
        // AUTHORITY
        id = _verifySigner(CaimiWire.hash(publication), signature, publication.publisher);
        bool home = _isHere(publication.home);
        if (!home && !_isHereAmong(publication.mirrors)) revert WrongRegistry(publication.home.registry, _registry);
        // REPEAT
        if (_publications[id].role != Role.NONE || (home && _isLockedHere(id, publication))) return id;
        // CHECKS – EFFECTS – EVENT
        _checkRunning();
        if (home) _lockHome(id, publication);
        else _lockMirror(id, publication);
    }

    /// @notice Abort at home after the deadline. Anyone may.
    /// @param id of a publication whose home is this registry
    function abort(bytes32 id) external onOwnChain {
        _abort(id);
    }

    /// @notice After the deadline: record ABORTED for signed bytes that home never locked. Uses no name, version or
    /// nonce. A publication that home knows is aborted as by `abort`.
    /// @param publication what the publisher signed; its home is this registry
    /// @param signature the publisher's, 65 bytes r ‖ s ‖ v
    function abortUnlocked(Publication calldata publication, bytes calldata signature) external onOwnChain {
        // AUTHORITY
        bytes32 id = _verifySigner(CaimiWire.hash(publication), signature, publication.publisher);
        require(_isHere(publication.home), NotHome());
        // REPEAT
        PublicationRecord storage record = _publications[id];
        if (record.role != Role.NONE) {
            _abort(id);
            return;
        }
        // CHECKS
        require(!_isLockedHere(id, publication), InBatch());
        Publications.check(publication);
        _checkPassed(publication.deadline);
        // EFFECTS – EVENT
        _store(record, publication);
        record.role = Role.HOME;
        record.awaited = uint8(publication.mirrors.length);
        (record.answered,,,) = _earlyAnswersOf(id, publication.mirrors);
        if (publication.deadline > _unlockedUntil) _unlockedUntil = publication.deadline;
        _abortHome(id, record, AbortReason.NEVER_LOCKED);
    }

    function _abort(bytes32 id) private {
        PublicationRecord storage record = _publications[id];
        require(record.role != Role.NONE, UnknownPublication(id));
        require(record.role == Role.HOME, NotHome());
        // REPEAT
        if (record.state == State.ABORTED) return;
        // CHECKS
        require(record.state == State.LOCKED, NotLocked(uint8(record.state)));
        _checkPassed(record.deadline);
        // EFFECTS – EVENT
        _abortHome(id, record, AbortReason.DEADLINE);
    }

    function _lockHome(bytes32 id, Publication calldata p) private {
        uint16 code = Publications.permanentReason(p);
        // CHECKS – EFFECTS
        if (code == 0) code = _reserve(id, p);
        if (code != 0) _refuseLock(p, code);
        (uint8 answered, uint8 awaited, bool refused, bool revoked) = _earlyAnswersOf(id, p.mirrors);
        PublicationRecord storage record = _publications[id];
        _store(record, p);
        record.role = Role.HOME;
        record.state = State.LOCKED;
        record.deposit = p.deposit;
        record.awaited = awaited;
        record.answered = answered;
        record.revoked = revoked;
        // EVENT
        _emit(Kind.LOCKED, p.mirrors, id, abi.encode(Role.HOME, p.home));
        _meetAnswers(id, record, refused);
    }

    function _lockMirror(bytes32 id, Publication calldata p) private {
        // CHECKS: the reason is a pure function of the signed bytes, so every mirror gives the same answer.
        uint16 code = Publications.permanentReason(p);
        // EFFECTS
        State state = code == 0 ? State.LOCKED : State.REFUSED;
        PublicationRecord storage record = _publications[id];
        _store(record, p);
        record.role = Role.MIRROR;
        bool revoked = code == 0 && _earlyRevocationOf(id, p);
        record.revoked = revoked;
        // An outcome that came before this lock takes effect. A home that commits what this mirror refuses has more
        // than f bad validators behind it: the refusal stands.
        EarlyWord storage early = _early[id][CaimiWire.laneKey(p.home)];
        State outcome = early.outcome;
        bool moves = false;
        if (outcome != State.NONE) {
            early.outcome = State.NONE;
            (moves,) = _followStep(state, outcome);
        }
        record.state = moves ? _following(outcome, revoked) : state;
        // EVENT: the role, or the code
        (uint16 kind, uint16 first) = code == 0 ? (Kind.LOCKED, uint16(Role.MIRROR)) : (Kind.REFUSED, code);
        _emitTo(kind, p.home, id, abi.encode(first, p.home));
    }
}
