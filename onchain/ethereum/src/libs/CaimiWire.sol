// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {
    Answer,
    Checkpoint,
    Cid,
    Event,
    Genesis,
    HostKey,
    InferenceRequest,
    Item,
    Lane,
    Publication,
    Revocation,
    Terms,
    Withdrawal
} from "./Records.sol";

// No file but this one and OrderWire.sol hashes a protocol message.

/// @title The digests of spec 10, one function each
/// @notice Calls are hashed field by field, never as the bytes that arrived. The ABI decoder already refuses values
/// that do not fit their types; that calldata could be laid out in another order than the canonical one therefore
/// changes no digest, and nothing here looks at it.
library CaimiWire {
    /// @notice Version of event schemas that this code emits and applies.
    uint16 internal constant SCHEMA = 1;

    bytes32 private constant TAG_GENESIS = "CAIMI/1/genesis";
    bytes32 private constant TAG_EVENT = "CAIMI/1/event";
    bytes32 private constant TAG_LEAF = "CAIMI/1/leaf";
    bytes32 private constant TAG_BATCH_ITEM = "CAIMI/1/batch-item";

    /// @notice The policy that lets everybody in: the tagged hash of no parts, which is that of the tag.
    bytes32 internal constant POLICY_OPEN =
        keccak256("CAIMI/1/policy-open\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");

    bytes32 private constant DOMAIN_TYPE = keccak256("EIP712Domain(string name,string version,bytes32 salt)");
    bytes32 private constant LANE_TYPE = keccak256("Lane(bytes32 chain,bytes32 registry)");
    bytes32 private constant CID_TYPE = keccak256("Cid(uint8 codec,bytes32 digest)");
    bytes32 private constant TERMS_TYPE = keccak256("Terms(bytes32 currency,uint8 unit,uint128 price)");
    bytes32 private constant PUBLICATION_TYPE = keccak256(
        "Publication(uint16 format,uint8 kind,address publisher,string name,uint64 version,Cid ciphertext,bytes32 capsuleHash,bytes32 manifestCommitment,bytes32 policyHash,Lane home,Lane[] mirrors,Terms terms,uint128 deposit,bytes32 nonce,uint64 deadline,bytes32 extensionHash)Cid(uint8 codec,bytes32 digest)Lane(bytes32 chain,bytes32 registry)Terms(bytes32 currency,uint8 unit,uint128 price)"
    );
    bytes32 private constant WITHDRAWAL_TYPE = keccak256(
        "Withdrawal(Lane at,address account,address recipient,uint128 amount,bytes32 nonce,uint64 deadline)Lane(bytes32 chain,bytes32 registry)"
    );
    bytes32 private constant REVOCATION_TYPE = keccak256(
        "Revocation(Lane at,bytes32 publication,address publisher,uint16 reason,bytes32 nonce,uint64 deadline)Lane(bytes32 chain,bytes32 registry)"
    );
    bytes32 private constant REQUEST_TYPE = keccak256(
        "InferenceRequest(Lane at,bytes32 publication,address consumer,Cid input,bytes32 inputCommitment,bytes32 clientKey,bytes32 nonce,uint64 deadline)Cid(uint8 codec,bytes32 digest)Lane(bytes32 chain,bytes32 registry)"
    );
    bytes32 private constant HOST_KEY_TYPE =
        keccak256("HostKey(bytes32 sealingKey,address signingKey,uint64 epoch,uint64 until)");
    bytes32 private constant ANSWER_TYPE = keccak256(
        "Answer(Lane at,bytes32 request,bytes32 publication,bytes32 lease,Cid output,bytes32 inputCommitment,bytes32 outputCommitment,bytes32 receiptHash,uint64 answeredAt)Cid(uint8 codec,bytes32 digest)Lane(bytes32 chain,bytes32 registry)"
    );
    bytes32 private constant CHECKPOINT_TYPE = keccak256(
        "Checkpoint(Lane source,uint64 generation,uint64 epoch,uint64 firstSequence,uint64 lastSequence,bytes32 root,uint64 height,bytes32 blockHash)Lane(bytes32 chain,bytes32 registry)"
    );

    /// @notice keccak256(abi.encode(tag, Genesis)) (spec 10 §7).
    function networkId(Genesis memory genesis) internal pure returns (bytes32) {
        return keccak256(abi.encode(TAG_GENESIS, genesis));
    }

    /// @notice EIP-712 domain {name "CAIMI", version "1", salt network} (spec 10 §4).
    function domainSeparator(bytes32 network) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("CAIMI"), keccak256("1"), network));
    }

    /// @notice What is signed: keccak256(0x1901 ‖ domain separator ‖ hashStruct).
    function typedDigest(bytes32 domain, bytes32 structHash) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, shl(240, 0x1901))
            mstore(add(free, 0x02), domain)
            mstore(add(free, 0x22), structHash)
            result := keccak256(free, 0x42)
        }
    }

    /// @notice hashStruct of a Publication.
    /// @dev Nothing is allocated: a batch makes 256 of these, and memory grows dear by its square. The offsets are those of
    /// the members in calldata, and of their words in the hashed bytes.
    function hash(Publication calldata p) internal pure returns (bytes32 result) {
        _checkNumbers(p);
        bytes32 nameHash = textHash(bytes(p.name));
        bytes32 mirrorsHash = lanesHash(p.mirrors);
        bytes32 kind = PUBLICATION_TYPE;
        Cid calldata ciphertext = p.ciphertext;
        Terms calldata terms = p.terms;
        uint256 ciphertextAt;
        uint256 termsAt;
        assembly ("memory-safe") {
            ciphertextAt := ciphertext
            termsAt := terms
        }
        bytes32 ciphertextHash = _hashMembers(CID_TYPE, ciphertextAt, 0x40);
        bytes32 homeHash = laneHash(p.home);
        bytes32 termsHash = _hashMembers(TERMS_TYPE, termsAt, 0x60);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, kind)
            // format, kind, publisher; then version; capsule hash, manifest commitment, policy hash
            calldatacopy(add(free, 0x20), p, 0x60)
            mstore(add(free, 0x80), nameHash)
            mstore(add(free, 0xa0), calldataload(add(p, 0x80)))
            mstore(add(free, 0xc0), ciphertextHash)
            calldatacopy(add(free, 0xe0), add(p, 0xe0), 0x60)
            mstore(add(free, 0x140), homeHash)
            mstore(add(free, 0x160), mirrorsHash)
            mstore(add(free, 0x180), termsHash)
            // deposit, nonce, deadline, extension hash
            calldatacopy(add(free, 0x1a0), add(p, 0x200), 0x80)
            result := keccak256(free, 0x220)
        }
    }

    /// @notice hashStruct of a Withdrawal.
    function hash(Withdrawal calldata w) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(WITHDRAWAL_TYPE, laneHash(w.target), w.account, w.recipient, w.amount, w.nonce, w.deadline)
        );
    }

    /// @notice hashStruct of a Revocation.
    function hash(Revocation calldata r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(REVOCATION_TYPE, laneHash(r.target), r.publication, r.publisher, r.reason, r.nonce, r.deadline)
        );
    }

    /// @notice hashStruct of an InferenceRequest.
    function hash(InferenceRequest calldata r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                REQUEST_TYPE,
                laneHash(r.target),
                r.publication,
                r.consumer,
                _hash(r.input),
                r.inputCommitment,
                r.clientKey,
                r.nonce,
                r.deadline
            )
        );
    }

    /// @notice hashStruct of a HostKey.
    function hash(HostKey calldata k) internal pure returns (bytes32) {
        return keccak256(abi.encode(HOST_KEY_TYPE, k.sealingKey, k.signingKey, k.epoch, k.until));
    }

    /// @notice hashStruct of an Answer.
    function hash(Answer calldata a) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                ANSWER_TYPE,
                laneHash(a.target),
                a.request,
                a.publication,
                a.lease,
                _hash(a.output),
                a.inputCommitment,
                a.outputCommitment,
                a.receiptHash,
                a.answeredAt
            )
        );
    }

    /// @notice hashStruct of a Checkpoint.
    function hash(Checkpoint calldata c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                CHECKPOINT_TYPE,
                laneHash(c.source),
                c.generation,
                c.epoch,
                c.firstSequence,
                c.lastSequence,
                c.root,
                c.height,
                c.blockHash
            )
        );
    }

    /// @notice keccak256(chain ‖ registry): the key of a lane in storage.
    function laneKey(bytes32 chain, bytes32 registry) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0x00, chain)
            mstore(0x20, registry)
            result := keccak256(0x00, 0x40)
        }
    }

    /// @notice Key of a lane that came in a call.
    function laneKey(Lane calldata lane) internal pure returns (bytes32) {
        return laneKey(lane.chain, lane.registry);
    }

    /// @notice keccak256(tag ‖ schema ‖ kind ‖ keccak256(destinations) ‖ subject ‖ keccak256(body)) (spec 10 §5).
    function eventHash(Event calldata e) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(TAG_EVENT, e.schema, e.kind, concatHash(e.destinations), e.subject, keccak256(e.body)));
    }

    /// @notice keccak256(0x00 ‖ keccak256(tag ‖ chain ‖ registry ‖ sequence ‖ eventHash)) (spec 10 §6).
    function leafHash(Lane calldata source, Item calldata item) internal pure returns (bytes32) {
        bytes32 inner =
            keccak256(abi.encode(TAG_LEAF, source.chain, source.registry, item.sequence, eventHash(item.happened)));
        return keccak256(abi.encodePacked(bytes1(0x00), inner));
    }

    /// @notice keccak256(0x00 ‖ keccak256(tag ‖ index ‖ id)): a publication at its place in a batch (spec 37 §1).
    function batchLeaf(uint256 index, bytes32 id) internal pure returns (bytes32 result) {
        bytes32 tag = TAG_BATCH_ITEM;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 0x20), index)
            mstore(add(free, 0x40), id)
            let inner := keccak256(free, 0x60)
            mstore8(0x00, 0x00)
            mstore(0x01, inner)
            result := keccak256(0x00, 0x21)
        }
    }

    /// @notice keccak256 of bytes that came in a call, without allocating memory.
    function textHash(bytes calldata text) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, text.offset, text.length)
            result := keccak256(free, text.length)
        }
    }

    /// @notice keccak256(chain ‖ registry of each). A Lane is two full words, so the list lies in calldata as it is hashed.
    function concatHash(Lane[] calldata lanes) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := mul(lanes.length, 0x40)
            calldatacopy(free, lanes.offset, size)
            result := keccak256(free, size)
        }
    }

    /// @notice hashStruct of a Lane.
    function laneHash(Lane calldata lane) internal pure returns (bytes32) {
        uint256 members;
        assembly ("memory-safe") {
            members := lane
        }
        return _hashMembers(LANE_TYPE, members, 0x40);
    }

    /// @notice hash of an EIP-712 array: of the elements' struct hashes, one after the other.
    function lanesHash(Lane[] calldata lanes) internal pure returns (bytes32 result) {
        bytes32 kind = LANE_TYPE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            // One lane is hashed in front of the list of hashes.
            let list := add(free, 0x60)
            mstore(free, kind)
            for { let i := 0 } lt(i, lanes.length) { i := add(i, 1) } {
                calldatacopy(add(free, 0x20), add(lanes.offset, mul(i, 0x40)), 0x40)
                mstore(add(list, mul(i, 0x20)), keccak256(free, 0x60))
            }
            result := keccak256(list, mul(lanes.length, 0x20))
        }
    }

    // What solc's decoder demands of each member that it reads: numbers lie inside their types.
    function _checkNumbers(Publication calldata p) private pure {
        assembly ("memory-safe") {
            let beyond := or(shr(16, calldataload(p)), shr(8, calldataload(add(p, 0x20))))
            beyond := or(beyond, shr(160, calldataload(add(p, 0x40))))
            beyond := or(beyond, shr(64, calldataload(add(p, 0x80))))
            beyond := or(beyond, shr(8, calldataload(add(p, 0xa0))))
            beyond := or(beyond, shr(8, calldataload(add(p, 0x1c0))))
            beyond := or(beyond, shr(128, calldataload(add(p, 0x1e0))))
            beyond := or(beyond, shr(128, calldataload(add(p, 0x200))))
            beyond := or(beyond, shr(64, calldataload(add(p, 0x240))))
            if beyond { revert(0, 0) }
        }
    }

    // hashStruct of a record whose members are `size` bytes of calldata at `from`, all of them static.
    function _hashMembers(bytes32 kind, uint256 from, uint256 size) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, kind)
            calldatacopy(add(free, 0x20), from, size)
            result := keccak256(free, add(size, 0x20))
        }
    }

    function _hash(Cid calldata cid) private pure returns (bytes32) {
        return keccak256(abi.encode(CID_TYPE, cid.codec, cid.digest));
    }
}
