// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

// Records of spec 10 and the numbers of spec 30. Two members cannot have their wire name,
// which Solidity keeps for itself: `at` is `target` and an item's `event` is `happened`. Names of members are in no
// encoding but in EIP-712 types, which are written out below.

/// @notice One (chain, registry) as a source of events.
/// @param chain keccak256 of the chain's CAIP-2 id
/// @param registry EVM: address left-padded; Fabric: keccak256("channel/chaincode")
struct Lane {
    bytes32 chain;
    bytes32 registry;
}

/// @notice A CIDv1 with sha2-256.
/// @param codec 0x55 (raw) or 0x70 (dag-pb)
/// @param digest the 32-byte digest
struct Cid {
    uint8 codec;
    bytes32 digest;
}

/// @notice Price terms; only all zero is accepted until payments exist.
struct Terms {
    bytes32 currency;
    uint8 unit;
    uint128 price;
}

/// @notice One version of one model or dataset, as its publisher signs it; its digest is the publication's id.
struct Publication {
    uint16 format;
    uint8 kind;
    address publisher;
    string name;
    uint64 version;
    Cid ciphertext;
    bytes32 capsuleHash;
    bytes32 manifestCommitment;
    bytes32 policyHash;
    Lane home;
    Lane[] mirrors;
    Terms terms;
    uint128 deposit;
    bytes32 nonce;
    uint64 deadline;
    bytes32 extensionHash;
}

/// @notice Move `amount` of the account's registry balance out to `recipient`.
struct Withdrawal {
    Lane target;
    address account;
    address recipient;
    uint128 amount;
    bytes32 nonce;
    uint64 deadline;
}

/// @notice Its publisher takes a publication back, for ever and on all its registries.
/// @param reason the publisher's own word to readers: no registry looks at it
struct Revocation {
    Lane target;
    bytes32 publication;
    address publisher;
    uint16 reason;
    bytes32 nonce;
    uint64 deadline;
}

/// @notice Stop what a registry begins; signed by f+1 validators of the epoch.
/// @param counter the registry's present one plus 1
struct Pause {
    Lane target;
    uint64 epoch;
    uint64 counter;
}

/// @notice End a pause; signed by a quorum of the epoch.
/// @param counter the registry's present one plus 1
struct Resume {
    Lane target;
    uint64 epoch;
    uint64 counter;
}

/// @notice A quorum's decision about a lane, recorded at the root registry.
/// @param action 1 resume, 2 drop
/// @param version number of decisions about this lane, this one included
/// @param generation to resume: the next one; to drop: the present one
/// @param height of the last block kept; 0 to drop
/// @param blockHash of the last block kept; zero to drop
struct Governance {
    Lane target;
    uint64 epoch;
    uint8 action;
    Lane lane;
    uint64 version;
    uint64 generation;
    uint64 height;
    bytes32 blockHash;
}

/// @notice The validators of one epoch; its hashStruct is the set hash that events carry.
/// @param f bad validators tolerated
/// @param t shares that a decryption needs
/// @param transcript of the resharing that gave them their shares
struct EpochSet {
    uint64 epoch;
    address[] validators;
    uint8 f;
    uint8 t;
    bytes32 transcript;
}

/// @notice One set hands over to the next; signed by a quorum of each.
/// @param epoch the one that ends
/// @param lanes all other registries of the network, ascending
struct SetChange {
    Lane target;
    uint64 epoch;
    EpochSet next;
    Lane[] lanes;
}

/// @notice A consumer asks for one answer; its digest is the request's id.
struct InferenceRequest {
    Lane target;
    bytes32 publication;
    address consumer;
    Cid input;
    bytes32 inputCommitment;
    bytes32 clientKey;
    bytes32 nonce;
    uint64 deadline;
}

/// @notice The keys of one start of a host, signed by an operator of the genesis descriptor.
struct HostKey {
    bytes32 sealingKey;
    address signingKey;
    uint64 epoch;
    uint64 until;
}

/// @notice A host's signed result of one request.
struct Answer {
    Lane target;
    bytes32 request;
    bytes32 publication;
    bytes32 lease;
    Cid output;
    bytes32 inputCommitment;
    bytes32 outputCommitment;
    bytes32 receiptHash;
    uint64 answeredAt;
}

/// @notice What happened at a registry.
/// @param destinations empty means all
/// @param body ABI-encoded static values, at most 1,024 bytes
struct Event {
    uint16 schema;
    uint16 kind;
    Lane[] destinations;
    bytes32 subject;
    bytes body;
}

/// @notice An event with its sequence number, as carried in a run.
struct Item {
    uint64 sequence;
    Event happened;
}

/// @notice Root over a run of one registry's final events; what validators sign.
struct Checkpoint {
    Lane source;
    uint64 generation;
    uint64 epoch;
    uint64 firstSequence;
    uint64 lastSequence;
    bytes32 root;
    uint64 height;
    bytes32 blockHash;
}

/// @notice One validator's ECDSA signature.
struct Signature {
    uint8 signer;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @notice A checkpoint with a quorum's signatures, ascending by signer.
struct Certificate {
    Checkpoint checkpoint;
    Signature[] signatures;
}

/// @notice Shows that a publication is in a batch (spec 37 §1).
/// @param index place in the batch, from 0
/// @param siblings multiproof of that one leaf, at most 8
struct BatchProof {
    Lane home;
    bytes32 root;
    uint16 index;
    bytes32[] siblings;
}

/// @notice The genesis descriptor; its hash is the network id.
/// @param f Byzantine validators tolerated
/// @param t decryption threshold
struct Genesis {
    bytes32 rootGenesis;
    address[] validators;
    uint8 f;
    uint8 t;
    address[] operators;
    uint8 attestation;
    bytes32 nonce;
}

/// @notice State of one publication at one registry (spec 30 §2).
enum State {
    NONE,
    LOCKED,
    COMMITTED,
    ABORTED,
    REFUSED,
    SUPERSEDED,
    REVOKED
}

/// @notice What a registry is to a publication.
enum Role {
    NONE,
    HOME,
    MIRROR
}

/// @notice What applying one carried event did.
enum Disposition {
    NONE,
    APPLIED,
    PENDING,
    REFUSED,
    IGNORED
}

/// @notice Why home aborted.
enum AbortReason {
    NONE,
    DEADLINE,
    MIRROR_REFUSED,
    NEVER_LOCKED
}

/// @title What a quorum decides about a lane
/// @notice Numbers and not an enum: others are carried and ignored.
library Action {
    uint8 internal constant RESUME_LANE = 1;
    uint8 internal constant DROP_LANE = 2;
}

/// @title Kinds of events (spec 10 §5)
/// @notice Numbers and not an enum: unknown kinds are carried and ignored.
library Kind {
    uint16 internal constant LOCKED = 1;
    uint16 internal constant REFUSED = 2;
    uint16 internal constant OUTCOME = 3;
    uint16 internal constant SUPERSEDED = 4;
    uint16 internal constant REQUESTED = 5;
    uint16 internal constant ANSWERED = 6;
    uint16 internal constant REVOKED = 7;
    uint16 internal constant SET_CHANGE = 11;
    uint16 internal constant SET_RETIRED = 12;
    uint16 internal constant GOVERNANCE = 15;
    uint16 internal constant BATCH_LOCKED = 16;
    uint16 internal constant BATCH_ANSWERED = 17;
    uint16 internal constant BATCH_OUTCOME = 18;
    uint16 internal constant SET_ENTERED = 19;
}
