// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Decisions} from "./Decisions.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {AbortReason, Kind, Publication, Role, State} from "./libs/Records.sol";
import {
    DeadlineNotPassed,
    NameTaken,
    NearDeadline,
    NonceUsed,
    NotHome,
    NotLocked,
    PastDeadline,
    SmallDeposit,
    UnknownPublication,
    WrongRegistry
} from "./libs/Errors.sol";
import {Publications} from "./libs/Publications.sol";

/// @title Locking and aborting publications (spec 30 §3)
abstract contract Locks is Decisions {
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
        if (_publications[id].role != Role.NONE) return id;
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
        Publications.check(publication);
        require(_now() > publication.deadline, DeadlineNotPassed(publication.deadline, _now()));
        // EFFECTS – EVENT
        _store(record, publication);
        record.role = Role.HOME;
        record.home = HERE;
        record.awaited = uint8(publication.mirrors.length);
        (record.answered,,,) = _earlyAnswersOf(id, publication.mirrors);
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
        require(_now() > record.deadline, DeadlineNotPassed(record.deadline, _now()));
        // EFFECTS – EVENT
        _abortHome(id, record, AbortReason.DEADLINE);
    }

    function _lockHome(bytes32 id, Publication calldata p) private {
        // CHECKS
        Publications.check(p);
        require(_now() <= p.deadline, PastDeadline(p.deadline, _now()));
        uint64 earliest = _now() + 2 * _clockWindow;
        require(p.deadline >= earliest, NearDeadline(p.deadline, earliest));
        require(p.deposit >= _minDeposit, SmallDeposit(_minDeposit, p.deposit));
        require(_nonces[p.publisher][p.nonce] == 0, NonceUsed(p.nonce));
        mapping(uint64 => bool) storage taken = _takenNames[p.publisher][keccak256(bytes(p.name))];
        require(!taken[p.version], NameTaken());
        // EFFECTS
        _debit(p.publisher, p.deposit);
        _nonces[p.publisher][p.nonce] = id;
        taken[p.version] = true;
        (uint8 answered, uint8 awaited, bool refused, bool revoked) = _earlyAnswersOf(id, p.mirrors);
        PublicationRecord storage record = _publications[id];
        _store(record, p);
        record.role = Role.HOME;
        record.state = State.LOCKED;
        record.home = HERE;
        record.deposit = p.deposit;
        record.awaited = awaited;
        record.answered = answered;
        record.revoked = revoked;
        // EVENT
        _emit(Kind.LOCKED, p.mirrors, id, abi.encode(Role.HOME, p.home));
        if (refused) _abortHome(id, record, AbortReason.MIRROR_REFUSED);
        else if (awaited == 0) _commitHome(id, record);
    }

    function _lockMirror(bytes32 id, Publication calldata p) private {
        // CHECKS: the reason is a pure function of the signed bytes, so every mirror gives the same answer.
        uint16 code = Publications.permanentReason(p);
        // EFFECTS
        State state = code == 0 ? State.LOCKED : State.REFUSED;
        PublicationRecord storage record = _publications[id];
        _store(record, p);
        record.role = Role.MIRROR;
        record.home = _numberOf(p.home);
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
        // EVENT
        if (code == 0) _emitTo(Kind.LOCKED, p.home, id, abi.encode(Role.MIRROR, p.home));
        else _emitTo(Kind.REFUSED, p.home, id, abi.encode(code, p.home));
    }

    // Whether home or another mirror told of a revocation before this mirror's lock; of lawful bytes, so at most 8 lanes.
    function _earlyRevocationOf(bytes32 id, Publication calldata p) private view returns (bool) {
        if (_early[id][CaimiWire.laneKey(p.home)].revoked) return true;
        for (uint256 i = 0; i < p.mirrors.length; i++) {
            if (!_isHere(p.mirrors[i]) && _early[id][CaimiWire.laneKey(p.mirrors[i])].revoked) return true;
        }
        return false;
    }

    function _store(PublicationRecord storage record, Publication calldata p) private {
        record.publisher = p.publisher;
        record.deadline = p.deadline;
        record.version = p.version;
        record.name = p.name;
        record.mirrors = _numbersOf(p.mirrors);
    }
}
