// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ISets} from "./ISets.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {OrderWire} from "./libs/OrderWire.sol";
import {Certificates} from "./libs/Certificates.sol";
import {Creation, Site} from "./libs/Creation.sol";
import {Disposition, EpochSet, Kind, Lane, SetChange, Signature} from "./libs/Records.sol";
import {
    BadSetChange,
    ForbiddenCaller,
    NotAcknowledged,
    NotRetired,
    NotRoot,
    Refusals,
    UnknownFunction,
    UnknownSet,
    WrongChain,
    WrongEpoch,
    WrongRegistry
} from "./libs/Errors.sol";

/// @notice What a registry says of itself.
interface ISelf {
    function lane() external view returns (Lane memory);
    function root() external view returns (Lane memory);
    function network() external view returns (bytes32);
}

/// @title Change of the validator set (spec 42)
/// @notice Code that registries run on their own storage. It is the same for all of them, so that they know it by its
/// hash (`attachEpochs`): nothing in it is fixed at a registry's creation, which it asks for that.
contract CaimiEpochs is RegistryStorage, ISets {
    uint256 private constant MAX_LANES = 64;

    constructor() RegistryStorage(Site(0, 0, 0, 0, 0, 0, address(0), 0, 0, Lane(0, 0))) {}

    /// @notice The registry has no such function.
    fallback() external {
        revert UnknownFunction();
    }

    /// @notice At the root: the next set takes over, and all registries are told. Anyone may submit it.
    /// @param order what quorums of both sets signed
    /// @param signatures of the present set, ascending by signer
    /// @param nextSignatures of the next set, ascending by signer
    function changeSet(SetChange calldata order, Signature[] calldata signatures, Signature[] calldata nextSignatures)
        external
    {
        // AUTHORITY – REPEAT
        Lane memory here = _here();
        bytes32 domain = CaimiWire.domainSeparator(ISelf(address(this)).network());
        bytes32 digest = CaimiWire.typedDigest(domain, OrderWire.hash(order));
        if (digest == _epochs.change) return;
        require(order.epoch == _epoch, WrongEpoch(_epoch, order.epoch));
        Certificates.verifySigners(signatures, digest, _validators, _quorum);
        bool isHere = order.target.chain == here.chain && order.target.registry == here.registry;
        require(isHere, WrongRegistry(order.target.registry, here.registry));
        require(_isRoot(here), NotRoot());
        // CHECKS
        require(_epochs.before == 0, NotRetired(_epochs.before));
        EpochSet calldata next = order.next;
        Creation.checkSet(next.validators, next.f, next.t);
        bool rises = next.epoch > order.epoch && next.transcript != 0;
        require(rises && _areLawful(order.lanes, here), BadSetChange());
        // EFFECTS, which a bad signature of the next set undoes
        _enter(next, OrderWire.hash(next));
        Certificates.verifySigners(nextSignatures, digest, _validators, _quorum);
        _epochs.change = digest;
        delete _changeLanes;
        for (uint256 i = 0; i < order.lanes.length; i++) {
            _changeLanes.push(order.lanes[i]);
        }
        // EVENT
        _emit(Kind.SET_CHANGE, new Lane[](0), _epochs.setHash, abi.encode(order.epoch, next.epoch));
    }

    /// @notice Away from the root: the announced set takes over, and the root is told. Anyone may submit it.
    /// @param next what the root's change named
    function enterSet(EpochSet calldata next) external {
        _here();
        // REPEAT
        bytes32 setHash = OrderWire.hash(next);
        if (setHash == _epochs.setHash) return;
        // CHECKS
        bool announced = next.epoch != 0 && next.epoch == _epochs.announced && setHash == _epochs.announcedSet;
        require(announced, UnknownSet(setHash));
        Creation.checkSet(next.validators, next.f, next.t);
        // EFFECTS
        _enter(next, setHash);
        // EVENT
        _emitTo(Kind.SET_ENTERED, ISelf(address(this)).root(), setHash, abi.encode(next.epoch));
    }

    /// @notice At the root: nothing that the set before signed counts any more, and all registries are told. Anyone may.
    function retireSet() external {
        require(_isRoot(_here()), NotRoot());
        // REPEAT
        uint64 retired = _epochs.before;
        if (retired == 0) return;
        // CHECKS
        for (uint256 i = 0; i < _changeLanes.length; i++) {
            bytes32 key = CaimiWire.laneKey(_changeLanes[i].chain, _changeLanes[i].registry);
            require(_acknowledged[key] == _epoch || _governed[key].dropped, NotAcknowledged(key));
        }
        // EFFECTS – EVENT
        _forgetBefore();
        _emit(Kind.SET_RETIRED, new Lane[](0), _epochs.setHash, abi.encode(retired));
    }

    /// @inheritdoc ISets
    function applySet(bytes32 source, uint64 certified, uint16 kind, bytes32 subject, bytes calldata body)
        external
        returns (uint256)
    {
        (Disposition disposition, uint16 code) = _applySet(source, certified, kind, subject, body);
        return uint256(code) << 8 | uint256(disposition);
    }

    // --- views

    /// @notice A set whose certificates count; all zero for every other epoch.
    function validatorSetOf(uint64 asked)
        external
        view
        returns (uint64 epoch, uint8 f, uint8 t, address[] memory validators)
    {
        if (asked == _epoch) return (_epoch, _f, _t, _validators);
        if (_isBefore(asked)) return (asked, _epochs.fBefore, _epochs.tBefore, _validatorsBefore);
    }

    /// @notice What is known of epochs besides the present set's members.
    /// @return before epoch of the set before; 0 if there is none
    /// @return set hash of the present set; zero in epoch 1
    /// @return transcript of the present set
    /// @return announced epoch that the root told of and that was not entered; 0 if none
    /// @return announcedSet its set hash
    function epochs()
        external
        view
        returns (uint64 before, bytes32 set, bytes32 transcript, uint64 announced, bytes32 announcedSet)
    {
        EpochState storage e = _epochs;
        return (e.before, e.setHash, e.transcript, e.announced, e.announcedSet);
    }

    /// @notice At the root: the last epoch that a lane is known to have entered.
    function acknowledged(Lane calldata lane) external view returns (uint64) {
        return _acknowledged[CaimiWire.laneKey(lane)];
    }

    // --- events

    function _applySet(bytes32 source, uint64 certified, uint16 kind, bytes32 subject, bytes calldata body)
        private
        returns (Disposition, uint16)
    {
        uint256 words = kind == Kind.SET_CHANGE ? 2 : 1;
        if (body.length != words * 32) return (Disposition.REFUSED, Refusals.BAD_BODY);
        uint256 first = uint256(bytes32(body[:32]));
        uint256 second = words == 2 ? uint256(bytes32(body[32:])) : 0;
        if (first > type(uint64).max || second > type(uint64).max) return (Disposition.REFUSED, Refusals.BAD_BODY);
        if (kind == Kind.SET_ENTERED) return _applyEntered(source, certified, uint64(first), subject);
        Lane memory root = ISelf(address(this)).root();
        if (source != CaimiWire.laneKey(root.chain, root.registry)) {
            return (Disposition.REFUSED, Refusals.WRONG_AUTHORITY);
        }
        if (kind == Kind.SET_CHANGE) return _applyChange(uint64(first), uint64(second), subject);
        return (_applyRetired(certified, uint64(first)), 0);
    }

    function _applyChange(uint64 ends, uint64 begins, bytes32 setHash) private returns (Disposition, uint16) {
        // No registry emits it: epochs rise.
        if (begins <= ends) return (Disposition.REFUSED, Refusals.BAD_BODY);
        if (ends > _epoch) return (Disposition.NONE, 0);
        if (ends != _epoch || begins <= _epochs.announced) return (Disposition.IGNORED, 0);
        (_epochs.announced, _epochs.announcedSet) = (begins, setHash);
        return (Disposition.PENDING, 0);
    }

    function _applyEntered(bytes32 source, uint64 certified, uint64 epoch, bytes32 setHash)
        private
        returns (Disposition, uint16)
    {
        bool waited = false;
        for (uint256 i = 0; i < _changeLanes.length && !waited; i++) {
            waited = CaimiWire.laneKey(_changeLanes[i].chain, _changeLanes[i].registry) == source;
        }
        if (!waited) return (Disposition.REFUSED, Refusals.WRONG_AUTHORITY);
        if (epoch < _epoch) return (Disposition.IGNORED, 0);
        if (epoch != _epoch || setHash != _epochs.setHash) return (Disposition.REFUSED, Refusals.UNKNOWN_SET);
        if (certified != _epoch) return (Disposition.NONE, 0);
        if (_acknowledged[source] == epoch) return (Disposition.IGNORED, 0);
        _acknowledged[source] = epoch;
        return (Disposition.APPLIED, 0);
    }

    function _applyRetired(uint64 certified, uint64 epoch) private returns (Disposition) {
        if (epoch >= _epoch || certified != _epoch) return Disposition.NONE;
        if (!_isBefore(epoch)) return Disposition.IGNORED;
        _forgetBefore();
        return Disposition.APPLIED;
    }

    // --- sets

    function _enter(EpochSet calldata next, bytes32 setHash) private {
        _validatorsBefore = _validators;
        _validators = next.validators;
        _epochs = EpochState({
            before: _epoch,
            quorumBefore: _quorum,
            fBefore: _f,
            tBefore: _t,
            announced: 0,
            announcedSet: 0,
            setHash: setHash,
            transcript: next.transcript,
            change: 0
        });
        (_epoch, _f, _t) = (next.epoch, next.f, next.t);
        _quorum = uint8((next.validators.length + next.f) / 2 + 1);
    }

    function _forgetBefore() private {
        delete _validatorsBefore;
        (_epochs.before, _epochs.quorumBefore, _epochs.fBefore, _epochs.tBefore) = (0, 0, 0, 0);
    }

    function _areLawful(Lane[] calldata lanes, Lane memory here) private pure returns (bool) {
        if (lanes.length > MAX_LANES) return false;
        for (uint256 i = 0; i < lanes.length; i++) {
            Lane calldata lane = lanes[i];
            if (lane.chain == here.chain && lane.registry == here.registry) return false;
            if (i == 0) continue;
            Lane calldata low = lanes[i - 1];
            bool ascends = low.chain < lane.chain || (low.chain == lane.chain && low.registry < lane.registry);
            if (!ascends) return false;
        }
        return true;
    }

    // This registry, whose chain is the one that this runs on. Somebody may call this code itself, which has no epoch.
    function _here() private view returns (Lane memory here) {
        require(_epoch != 0, ForbiddenCaller());
        here = ISelf(address(this)).lane();
        bytes32 present = Creation.presentChain();
        require(here.chain == present, WrongChain(here.chain, present));
    }

    function _isRoot(Lane memory here) private view returns (bool) {
        Lane memory root = ISelf(address(this)).root();
        return root.chain == here.chain && root.registry == here.registry;
    }
}
