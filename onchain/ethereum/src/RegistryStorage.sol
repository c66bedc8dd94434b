// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./libs/CaimiWire.sol";
import {Creation, Site} from "./libs/Creation.sol";
import {AbortReason, Lane, Role, State} from "./libs/Records.sol";
import {
    DeadlineNotPassed,
    ForbiddenCaller,
    LowBalance,
    NonceUsed,
    Paused,
    WrongChain,
    WrongRegistry,
    WrongSigner
} from "./libs/Errors.sol";
import {Signatures} from "./libs/Signatures.sol";

/// @title What a registry stores, and what every entry point needs of it
/// @notice The same state as `RegistryState` of the reference model. Both contracts of a registry have this layout and no
/// storage besides it: the extension's code runs on the registry's storage (tools/gen_abi.py compares the layouts).
abstract contract RegistryStorage {
    /// @notice An event of this registry (spec 30 §6).
    /// @param sequence gapless, the first is 1
    /// @param destinations registries that it concerns; empty means all
    event Emitted(
        uint64 indexed sequence,
        uint16 schema,
        uint16 indexed kind,
        Lane[] destinations,
        bytes32 indexed subject,
        bytes body
    );

    /// @notice Note of one carried event: what it did, and the refusal's code if REFUSED (else 0).
    event Applied(
        bytes32 indexed chain, bytes32 indexed registry, uint64 indexed sequence, uint8 disposition, uint16 code
    );

    // One publication here. The members up to `told` share a slot, the only one that an answer or an outcome writes.
    struct PublicationRecord {
        address publisher;
        Role role;
        State state;
        // Mirrors that home still waits for.
        uint8 awaited;
        AbortReason reason;
        // Of `_parties`.
        uint32 parties;
        // At home: bit i is set once the i-th mirror has answered.
        uint8 answered;
        // Its publisher's revocation is known here. While LOCKED it waits for the outcome.
        bool revoked;
        // Before there was a record here, some registry, of this publication or not, told REVOKED or SUPERSEDED: only
        // then `_early` has to be asked for it.
        bool told;
        // Escrowed here now; 0 on mirrors and once given back.
        uint128 deposit;
        uint64 version;
        uint64 deadline;
        string name;
    }

    // One batch here.
    struct BatchRecord {
        BatchHead head;
        // Escrowed here now, for the publications that were not taken out.
        uint128 deposits;
        // Bit i: the publication at index i was taken out before home decided.
        uint256 taken;
    }

    // One slot, read and written as a whole: all that an answer or a decision looks at. Role, state and reason are plain
    // numbers here, because the compiler would check an enum at each use.
    struct BatchHead {
        uint8 role;
        uint8 state;
        uint8 reason;
        // At home: mirrors that it still waits for, and bit i once the i-th mirror has answered.
        uint8 awaited;
        uint8 answered;
        // Whether `taken` has any bit.
        bool thinned;
        // Of publications, 1 to 256; 0 at a mirror until home has decided.
        uint16 count;
        // Of `_parties`; 0 at a mirror until home has decided.
        uint32 parties;
        // Deadlines, at home.
        uint64 earliest;
        uint64 latest;
    }

    // What another registry told of a publication before the lock here.
    struct EarlyWord {
        // LOCKED or REFUSED of a mirror, to home.
        State answer;
        // COMMITTED, ABORTED or SUPERSEDED of a home, to this mirror.
        State outcome;
        // It took the publisher's revocation.
        bool revoked;
    }

    // What governance decided last about a lane. All but the hash share a slot, which every run of the lane reads.
    struct GovernedLane {
        // 0 if it never did.
        uint64 version;
        // Above the first one, so that an empty record is generation 1.
        uint64 raised;
        uint64 height;
        bool dropped;
        bytes32 blockHash;
    }

    // The first slot is read where a certificate or a host key is not of the present epoch.
    struct EpochState {
        // 0 if there is no set before.
        uint64 before;
        uint8 quorumBefore;
        uint8 fBefore;
        uint8 tBefore;
        // 0 if none.
        uint64 announced;
        bytes32 announcedSet;
        // Of the present set; zero in epoch 1.
        bytes32 setHash;
        bytes32 transcript;
        // At the root: digest of the change that led here.
        bytes32 change;
    }

    // One inference request taken here.
    struct RequestRecord {
        // keccak256(publication ‖ input commitment); zero if there is no such request.
        bytes32 asked;
        // Zero until ANSWERED.
        bytes32 receiptHash;
        uint64 deadline;
    }

    // Of the rules: equal versions find the same permanent reasons (spec 30 §4).
    uint16 internal constant RULES_VERSION = 1;

    // Of every lane, until governance raises it.
    uint64 internal constant FIRST_GENERATION = 1;

    // Of `_lanes`: this registry.
    uint32 internal constant HERE = 1;

    // No place in a list; shifting a bit so far gives zero.
    uint256 internal constant NOWHERE = type(uint256).max;

    bytes32 internal immutable _network;
    uint128 internal immutable _minDeposit;
    uint64 internal immutable _clockWindow;
    address internal immutable _token;
    uint64 internal immutable _resumeDelay;
    uint128 internal immutable _withdrawalCap;
    bytes32 internal immutable _rootChain;
    bytes32 internal immutable _rootRegistry;
    bytes32 internal immutable _chain;
    bytes32 internal immutable _registry;
    bytes32 internal immutable _domain;
    uint256 internal immutable _chainId;

    // One slot: read by every certificate and written by every event.
    uint64 internal _epoch;
    uint64 internal _eventCount;
    uint8 internal _quorum;
    uint8 internal _f;
    uint8 internal _t;
    bool internal _paused;
    // Of the last pause or resumption.
    uint64 internal _brakeCounter;
    // Number of the last of `_parties`.
    uint32 internal _partiesCount;

    address[] internal _validators;
    mapping(address operator => bool) internal _isOperator;
    Lane[] internal _lanes;
    mapping(bytes32 laneKey => uint32 number) internal _laneNumbers;

    mapping(bytes32 id => PublicationRecord) internal _publications;
    // One slot for each registry that told something.
    mapping(bytes32 id => mapping(bytes32 laneKey => EarlyWord)) internal _early;
    // Of the last pause.
    uint64 internal _pausedAt;
    // Latest deadline of the publications that were aborted unlocked: one with a later deadline has no record here that its
    // nonce does not tell of.
    uint64 internal _unlockedUntil;
    mapping(bytes32 laneKey => mapping(uint64 generation => mapping(uint256 word => uint256 bits))) internal _marks;
    // Bit v % 256 of word v / 256: versions that follow each other share a slot.
    mapping(address publisher => mapping(bytes32 nameHash => mapping(uint256 word => uint256 bits))) internal
        _takenNames;
    mapping(address publisher => mapping(bytes32 nameHash => bytes32 id)) internal _latest;

    mapping(bytes32 request => RequestRecord) internal _requests;
    // At home: what mirrors answered.
    mapping(bytes32 request => bytes32 receiptHash) internal _carriedReceipts;
    // Counted where there is a cap.
    mapping(uint64 epoch => uint128) internal _withdrawn;

    // Digest of the action that used the nonce.
    mapping(address account => mapping(bytes32 nonce => bytes32 digest)) internal _nonces;
    mapping(address account => uint128) internal _balances;
    // What governance decided last about a lane.
    mapping(bytes32 laneKey => GovernedLane) internal _governed;

    // Home and mirrors of publications, in this order, as numbers of `_lanes`, 8 in a word, the first lowest: what is
    // lawful takes one slot, once for all publications of the same registries. The key is the list's number << 32 | word.
    mapping(uint256 key => uint256 lanes) internal _parties;
    mapping(bytes32 partiesKey => uint32 number) internal _partiesNumbers;

    mapping(bytes32 homeKey => mapping(bytes32 root => BatchRecord)) internal _batches;
    // What mirrors answered before home's lock: LOCKED, or REFUSED if their rules have another version.
    mapping(bytes32 root => mapping(bytes32 laneKey => State)) internal _earlyBatchAnswers;

    // What is known of epochs besides the present set (spec 42 §1).
    EpochState internal _epochs;
    // Code of `CaimiEpochs`, once somebody has shown it.
    address internal _epochsCode;
    // Signer order. Of the set before, until it is retired.
    address[] internal _validatorsBefore;
    // At the root: the registries that had to enter the present epoch.
    Lane[] internal _changeLanes;
    // At the root: the last epoch that a lane is known to have entered.
    mapping(bytes32 laneKey => uint64 epoch) internal _acknowledged;

    /// @notice Every call that changes state refuses to run on a fork with another chain id, and on other storage than the
    /// registry's.
    modifier onOwnChain() {
        _checkPlace();
        _;
    }

    constructor(Site memory site) {
        _network = site.network;
        _domain = CaimiWire.domainSeparator(site.network);
        _minDeposit = site.minDeposit;
        _clockWindow = site.clockWindow;
        _token = site.token;
        _resumeDelay = site.resumeDelay;
        _withdrawalCap = site.withdrawalCap;
        _rootChain = site.root.chain;
        _rootRegistry = site.root.registry;
        _chainId = site.chainId;
        _chain = site.chain;
        _registry = site.registry;
    }

    // --- authority

    // The digest of an action that `account` has signed.
    function _verifySigner(bytes32 structHash, bytes calldata signature, address account)
        internal
        view
        returns (bytes32 digest)
    {
        digest = CaimiWire.typedDigest(_domain, structHash);
        address signer = Signatures.recover(digest, signature);
        require(signer == account, WrongSigner(account, signer));
    }

    // True means: this very action was done before, so that the call is a no-op.
    function _isRepeated(address account, bytes32 nonce, bytes32 digest) internal view returns (bool) {
        bytes32 used = _nonces[account][nonce];
        require(used == 0 || used == digest, NonceUsed(nonce));
        return used != 0;
    }

    // Comes first among the checks of everything that begins something.
    function _checkRunning() internal view {
        require(!_paused, Paused());
    }

    function _checkPassed(uint64 deadline) internal view {
        require(_now() > deadline, DeadlineNotPassed(deadline, _now()));
    }

    function _checkLane(Lane calldata target) internal view {
        require(_isHere(target), WrongRegistry(target.registry, _registry));
    }

    function _isHere(Lane calldata lane) internal view returns (bool) {
        return lane.chain == _chain && lane.registry == _registry;
    }

    function _isHereAmong(Lane[] calldata lanes) internal view returns (bool) {
        for (uint256 i = 0; i < lanes.length; i++) {
            if (_isHere(lanes[i])) return true;
        }
        return false;
    }

    // Whether certificates of an epoch count that is not the present one.
    function _isBefore(uint64 epoch) internal view returns (bool) {
        return epoch != 0 && epoch == _epochs.before;
    }

    function _now() internal view returns (uint64) {
        return uint64(block.timestamp);
    }

    // --- balances: sums stay inside 128 bits because the tokens held here do (see `fundWithPermit`)

    function _credit(address account, uint128 amount) internal {
        _balances[account] += amount;
    }

    function _debit(address account, uint128 amount) internal {
        uint128 have = _balances[account];
        require(have >= amount, LowBalance(amount, have));
        _balances[account] = have - amount;
    }

    // --- events

    function _emit(uint16 kind, Lane[] memory destinations, bytes32 subject, bytes memory body) internal {
        emit Emitted(++_eventCount, CaimiWire.SCHEMA, kind, destinations, subject, body);
    }

    function _emitTo(uint16 kind, Lane memory destination, bytes32 subject, bytes memory body) internal {
        Lane[] memory destinations = new Lane[](1);
        destinations[0] = destination;
        _emit(kind, destinations, subject, body);
    }

    function _ownKey() internal view returns (bytes32) {
        return CaimiWire.laneKey(_chain, _registry);
    }

    function _checkPlace() private view {
        if (block.chainid != _chainId) revert WrongChain(_chain, Creation.presentChain());
        // Somebody calls the extension itself.
        if (uint160(address(this)) != uint256(_registry)) revert ForbiddenCaller();
    }
}
