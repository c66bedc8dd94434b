// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchApplication} from "./BatchApplication.sol";
import {Bodies, Decision} from "./libs/Bodies.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Action, Certificate, Checkpoint, Disposition, Event, Item, Kind, Lane, Role, State} from "./libs/Records.sol";
import {ISets} from "./ISets.sol";
import {Certificates} from "./libs/Certificates.sol";
import {LaneDropped, OwnEvents, Refusals, WrongEpoch, WrongGeneration} from "./libs/Errors.sol";

/// @title Applying a certified run: total, each event at most once (spec 20 §3)
/// @notice Once the certificate and the run hold, no item can make the call revert: functions here answer with a
/// disposition and a code. Running out of gas reverts the whole call, so that nothing is marked.
abstract contract Application is BatchApplication {
    // Bit k: kind k is about validator sets.
    uint256 private constant SETS = 1 << Kind.SET_CHANGE | 1 << Kind.SET_RETIRED | 1 << Kind.SET_ENTERED;

    /// @notice Verify a certified run, then apply every item that concerns this registry and is not marked yet.
    /// @param certificate checkpoint with a quorum's signatures of the present epoch
    /// @param items events of the certified range, ascending
    /// @param proof siblings that the items' leaves lack (spec 20 §2)
    function applyRun(Certificate calldata certificate, Item[] calldata items, bytes32[] calldata proof)
        external
        onOwnChain
    {
        // AUTHORITY
        Checkpoint calldata checkpoint = certificate.checkpoint;
        (address[] storage validators, uint256 quorum) = (_validators, _quorum);
        if (checkpoint.epoch != _epoch) {
            require(_isBefore(checkpoint.epoch), WrongEpoch(_epoch, checkpoint.epoch));
            (validators, quorum) = (_validatorsBefore, _epochs.quorumBefore);
        }
        bytes32 digest = CaimiWire.typedDigest(_domain, CaimiWire.hash(checkpoint));
        Certificates.verifySigners(certificate.signatures, digest, validators, quorum);
        // CHECKS
        require(!_isHere(checkpoint.source), OwnEvents());
        bytes32 source = CaimiWire.laneKey(checkpoint.source);
        _checkLife(_governed[source], checkpoint.generation);
        Certificates.checkRun(checkpoint, items, proof);
        // REPEAT – EFFECTS – EVENT, item by item
        mapping(uint256 => uint256) storage marks = _marks[source][checkpoint.generation];
        for (uint256 i = 0; i < items.length; i++) {
            Item calldata item = items[i];
            if (item.happened.destinations.length != 0 && !_isHereAmong(item.happened.destinations)) continue;
            if (!_mark(marks, item.sequence)) continue;
            (Disposition disposition, uint16 code) = _apply(checkpoint, source, item.happened);
            if (disposition == Disposition.NONE) {
                // Passed over (spec 42 §3): not marked, so that it can come again.
                marks[item.sequence >> 8] ^= 1 << (item.sequence & 0xff);
                continue;
            }
            emit Applied(checkpoint.source.chain, checkpoint.source.registry, item.sequence, uint8(disposition), code);
        }
    }

    function _checkLife(GovernedLane storage governed, uint64 generation) private view {
        require(!governed.dropped, LaneDropped());
        uint64 present = FIRST_GENERATION + governed.raised;
        require(generation == present, WrongGeneration(present, generation));
    }

    // False if it was marked before.
    function _mark(mapping(uint256 => uint256) storage marks, uint256 sequence) private returns (bool) {
        uint256 bit = 1 << (sequence & 0xff);
        uint256 word = marks[sequence >> 8];
        if (word & bit != 0) return false;
        marks[sequence >> 8] = word | bit;
        return true;
    }

    function _apply(Checkpoint calldata checkpoint, bytes32 source, Event calldata e)
        private
        returns (Disposition, uint16)
    {
        if (e.schema != CaimiWire.SCHEMA) return (Disposition.IGNORED, 0);
        if (e.kind == Kind.LOCKED || e.kind == Kind.REFUSED) return _applyLock(source, e);
        if (e.kind == Kind.OUTCOME) {
            (bool ok, uint256 outcome) = Bodies.readOutcome(e.body);
            if (!ok) return _refused(Refusals.BAD_BODY);
            bool known = outcome == uint256(State.COMMITTED) || outcome == uint256(State.ABORTED);
            return known ? _applyOutcome(source, e.subject, State(outcome)) : (Disposition.IGNORED, 0);
        }
        if (e.kind == Kind.SUPERSEDED) {
            if (!Bodies.isSuperseded(e.body)) return _refused(Refusals.BAD_BODY);
            return _applyOutcome(source, e.subject, State.SUPERSEDED);
        }
        if (e.kind == Kind.ANSWERED) return _applyReceipt(source, e);
        if (e.kind == Kind.REVOKED) return _applyRevocation(source, e);
        if (e.kind == Kind.GOVERNANCE) return _applyGovernance(source, e.body);
        if (e.kind == Kind.BATCH_ANSWERED) return _applyBatchAnswer(source, e.subject, e.body);
        if (e.kind == Kind.BATCH_OUTCOME) return _applyBatchOutcome(checkpoint.source, source, e);
        if (SETS >> e.kind & 1 == 1) return _applySet(source, checkpoint.epoch, e);
        return (Disposition.IGNORED, 0);
    }

    // Words about validator sets are the matter of `CaimiEpochs`; until its code is known here they are passed over.
    function _applySet(bytes32 source, uint64 certified, Event calldata e) private returns (Disposition, uint16) {
        if (_epochsCode == address(0)) return (Disposition.NONE, 0);
        (bool ok, bytes memory answer) =
            _epochsCode.delegatecall(abi.encodeCall(ISets.applySet, (source, certified, e.kind, e.subject, e.body)));
        // It refuses nothing: it ran out of gas, and so does the whole run.
        if (!ok) revert();
        uint256 packed = abi.decode(answer, (uint256));
        return (Disposition(packed & 0xff), uint16(packed >> 8));
    }

    // LOCKED or REFUSED. A home's LOCKED is for range registration, which does not exist yet.
    function _applyLock(bytes32 source, Event calldata e) private returns (Disposition, uint16) {
        bool locked = e.kind == Kind.LOCKED;
        (bool ok, uint256 first, bytes32 chain, bytes32 registry) =
            Bodies.readLock(e.body, locked ? type(uint8).max : type(uint16).max);
        if (!ok) return _refused(Refusals.BAD_BODY);
        if (locked && first != uint256(Role.MIRROR)) return (Disposition.IGNORED, 0);
        if (chain != _chain || registry != _registry) return _refused(Refusals.WRONG_AUTHORITY);
        return _applyAnswer(source, e.subject, locked ? State.LOCKED : State.REFUSED);
    }

    // A mirror's answer, at home.
    function _applyAnswer(bytes32 source, bytes32 id, State answer) private returns (Disposition, uint16) {
        PublicationRecord storage record = _publications[id];
        if (record.role == Role.NONE) {
            // The first answer stays.
            EarlyWord storage early = _early[id][source];
            if (early.answer == State.NONE) early.answer = answer;
            return (Disposition.PENDING, 0);
        }
        uint8 bit = _mirrorBit(record, source);
        if (bit == 0) return _refused(Refusals.WRONG_AUTHORITY);
        if (record.answered & bit != 0) return (Disposition.IGNORED, 0);
        if (record.state != State.LOCKED) return _refused(Refusals.ALREADY_DECIDED);
        if (answer == State.LOCKED && _now() > record.deadline) return _refused(Refusals.PAST_DEADLINE);
        record.answered |= bit;
        uint8 awaited = record.awaited - 1;
        record.awaited = awaited;
        _meetAnswers(id, record, answer == State.REFUSED);
        return (Disposition.APPLIED, 0);
    }

    // A home's outcome, at a mirror.
    function _applyOutcome(bytes32 source, bytes32 id, State outcome) private returns (Disposition, uint16) {
        PublicationRecord storage record = _publications[id];
        if (record.role == Role.NONE) {
            EarlyWord storage early = _early[id][source];
            State kept = early.outcome;
            if (kept == State.NONE || (kept == State.COMMITTED && outcome == State.SUPERSEDED)) {
                early.outcome = outcome;
                if (outcome == State.SUPERSEDED) record.told = true;
            }
            return (Disposition.PENDING, 0);
        }
        if (!_isHomeOf(record, source)) return _refused(Refusals.WRONG_AUTHORITY);
        (bool moves, bool there) = _followStep(record.state, outcome);
        if (there) return (Disposition.IGNORED, 0);
        if (!moves) return _refused(Refusals.ALREADY_DECIDED);
        record.state = _following(outcome, record.revoked);
        return (Disposition.APPLIED, 0);
    }

    // The word of a publisher, given at another registry of the publication, which tells all: here nothing is told.
    function _applyRevocation(bytes32 source, Event calldata e) private returns (Disposition, uint16) {
        (bool ok, bytes32 chain, bytes32 registry) = Bodies.readRevoked(e.body);
        if (!ok) return _refused(Refusals.BAD_BODY);
        if (CaimiWire.laneKey(chain, registry) != source) return _refused(Refusals.WRONG_AUTHORITY);
        PublicationRecord storage record = _publications[e.subject];
        if (record.role == Role.NONE) {
            _early[e.subject][source].revoked = true;
            record.told = true;
            return (Disposition.PENDING, 0);
        }
        if (!_isHomeOf(record, source) && !_isMirrorOf(record, source)) return _refused(Refusals.WRONG_AUTHORITY);
        (uint16 refusal, bool fresh) = _takeRevocation(record);
        if (refusal != 0) return _refused(refusal);
        if (!fresh) return (Disposition.IGNORED, 0);
        return (record.state == State.LOCKED ? Disposition.PENDING : Disposition.APPLIED, 0);
    }

    // A mirror's ANSWERED, at home.
    function _applyReceipt(bytes32 source, Event calldata e) private returns (Disposition, uint16) {
        (bool ok, bytes32 request, bytes32 receiptHash) = Bodies.readAnswered(e.body);
        if (!ok) return _refused(Refusals.BAD_BODY);
        PublicationRecord storage record = _publications[e.subject];
        if (record.role == Role.NONE) return _refused(Refusals.UNKNOWN_PUBLICATION);
        if (_mirrorBit(record, source) == 0) return _refused(Refusals.WRONG_AUTHORITY);
        if (_carriedReceipts[request] != 0) return (Disposition.IGNORED, 0);
        _carriedReceipts[request] = receiptHash;
        return (Disposition.APPLIED, 0);
    }

    // A decision about a lane, which only the root tells.
    function _applyGovernance(bytes32 source, bytes calldata body) private returns (Disposition, uint16) {
        (bool ok, Decision memory d) = Bodies.readGovernance(body);
        if (!ok) return _refused(Refusals.BAD_BODY);
        if (source != CaimiWire.laneKey(_rootChain, _rootRegistry)) return _refused(Refusals.WRONG_AUTHORITY);
        GovernedLane storage governed = _governed[CaimiWire.laneKey(d.chain, d.registry)];
        bool known = d.action == Action.RESUME_LANE || d.action == Action.DROP_LANE;
        if (!known || governed.dropped || d.version <= governed.version) return (Disposition.IGNORED, 0);
        _decide(governed, d);
        return (Disposition.APPLIED, 0);
    }

    // The bit of a mirror in a home's record; 0 if this is not home or the source is not one of its mirrors.
    function _mirrorBit(PublicationRecord storage record, bytes32 source) private view returns (uint8) {
        if (record.role != Role.HOME) return 0;
        return uint8(1 << _mirrorPlace(record.parties, source));
    }

    function _isHomeOf(PublicationRecord storage record, bytes32 source) private view returns (bool) {
        return record.role == Role.MIRROR && _partyAt(record.parties, 0) == _laneNumbers[source];
    }

    function _isMirrorOf(PublicationRecord storage record, bytes32 source) private view returns (bool) {
        return _mirrorPlace(record.parties, source) != NOWHERE;
    }
}
