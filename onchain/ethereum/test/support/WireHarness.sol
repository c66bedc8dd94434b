// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "../../src/libs/CaimiWire.sol";
import {OrderWire} from "../../src/libs/OrderWire.sol";
import "../../src/libs/Records.sol";
import {Bodies, Decision} from "../../src/libs/Bodies.sol";
import {Certificates} from "../../src/libs/Certificates.sol";
import {BadEncoding, WrongEpoch, WrongSigner} from "../../src/libs/Errors.sol";
import {Merkle} from "../../src/libs/Merkle.sol";
import {Publications} from "../../src/libs/Publications.sol";
import {Signatures} from "../../src/libs/Signatures.sol";

/// @title The libraries as external functions, so that tests reach them with calldata
contract WireHarness {
    address[] private _validators;
    uint256 private _quorum;

    function hash(Publication calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hash(Withdrawal calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hash(Revocation calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hashPause(Pause calldata r) public pure returns (bytes32) {
        return OrderWire.hash(r);
    }

    function hashResume(Resume calldata r) public pure returns (bytes32) {
        return OrderWire.hash(r);
    }

    function hash(Governance calldata r) public pure returns (bytes32) {
        return OrderWire.hash(r);
    }

    function hash(SetChange calldata r) public pure returns (bytes32) {
        return OrderWire.hash(r);
    }

    function hash(EpochSet calldata r) public pure returns (bytes32) {
        return OrderWire.hash(r);
    }

    function hash(InferenceRequest calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hash(HostKey calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hash(Answer calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    function hash(Checkpoint calldata r) public pure returns (bytes32) {
        return CaimiWire.hash(r);
    }

    /// @notice Decode one record strictly and give its struct hash.
    function structHash(string calldata record, bytes calldata encoded) external view returns (bytes32) {
        bytes32 name = keccak256(bytes(record));
        bytes memory again;
        bytes32 result;
        if (name == keccak256("Publication")) {
            Publication memory r = abi.decode(encoded, (Publication));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("Withdrawal")) {
            Withdrawal memory r = abi.decode(encoded, (Withdrawal));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("Revocation")) {
            Revocation memory r = abi.decode(encoded, (Revocation));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("Pause")) {
            Pause memory r = abi.decode(encoded, (Pause));
            (again, result) = (abi.encode(r), this.hashPause(r));
        } else if (name == keccak256("Resume")) {
            Resume memory r = abi.decode(encoded, (Resume));
            (again, result) = (abi.encode(r), this.hashResume(r));
        } else if (name == keccak256("Governance")) {
            Governance memory r = abi.decode(encoded, (Governance));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("InferenceRequest")) {
            InferenceRequest memory r = abi.decode(encoded, (InferenceRequest));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("HostKey")) {
            HostKey memory r = abi.decode(encoded, (HostKey));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("Answer")) {
            Answer memory r = abi.decode(encoded, (Answer));
            (again, result) = (abi.encode(r), this.hash(r));
        } else if (name == keccak256("Checkpoint")) {
            Checkpoint memory r = abi.decode(encoded, (Checkpoint));
            (again, result) = (abi.encode(r), this.hash(r));
        } else {
            revert("no such record on this ledger");
        }
        require(keccak256(again) == keccak256(encoded), BadEncoding());
        return result;
    }

    function eventHash(Event calldata e) external pure returns (bytes32) {
        return CaimiWire.eventHash(e);
    }

    function leafHash(Lane calldata source, Item calldata item) external pure returns (bytes32) {
        return CaimiWire.leafHash(source, item);
    }

    function domainSeparator(bytes32 network) external pure returns (bytes32) {
        return CaimiWire.domainSeparator(network);
    }

    function networkId(Genesis memory genesis) external pure returns (bytes32) {
        return CaimiWire.networkId(genesis);
    }

    function digest(bytes32 domain, bytes32 hashed) external pure returns (bytes32) {
        return CaimiWire.typedDigest(domain, hashed);
    }

    function recover(bytes32 hashed, bytes calldata signature) external pure returns (address) {
        return Signatures.recover(hashed, signature);
    }

    function verifySigner(bytes32 hashed, bytes calldata signature, address expected) external pure {
        address actual = Signatures.recover(hashed, signature);
        require(actual == expected, WrongSigner(expected, actual));
    }

    function batchLeaf(uint256 index, bytes32 id) external pure returns (bytes32) {
        return CaimiWire.batchLeaf(index, id);
    }

    function merkleRoot(bytes32[] memory leaves) external pure returns (bytes32) {
        return Merkle.root(leaves);
    }

    function pathRoot(uint256 width, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        pure
        returns (bytes32)
    {
        return Merkle.pathRoot(width, index, leaf, proof);
    }

    function multiproofRoot(uint256 width, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        pure
        returns (bytes32)
    {
        uint256[] memory indices = new uint256[](1);
        bytes32[] memory leaves = new bytes32[](1);
        (indices[0], leaves[0]) = (index, leaf);
        return Merkle.multiproofRoot(width, indices, leaves, proof);
    }

    function isName(bytes calldata name) external pure returns (bool) {
        return Publications.isName(name);
    }

    function checkRun(Checkpoint calldata checkpoint, Item[] calldata items, bytes32[] calldata proof) external pure {
        Certificates.checkRun(checkpoint, items, proof);
    }

    function setValidators(address[] calldata validators, uint256 quorum) external {
        _validators = validators;
        _quorum = quorum;
    }

    function verifyCertificate(Certificate calldata certificate, uint64 epoch, bytes32 domain) external view {
        // The epoch is a registry's to check, which may believe two sets.
        require(certificate.checkpoint.epoch == epoch, WrongEpoch(epoch, certificate.checkpoint.epoch));
        bytes32 signed = CaimiWire.typedDigest(domain, CaimiWire.hash(certificate.checkpoint));
        Certificates.verifySigners(certificate.signatures, signed, _validators, _quorum);
    }

    function readLock(bytes calldata body, uint256 limit) external pure returns (bool, uint256, bytes32, bytes32) {
        return Bodies.readLock(body, limit);
    }

    function readOutcome(bytes calldata body) external pure returns (bool, uint256) {
        return Bodies.readOutcome(body);
    }

    function isSuperseded(bytes calldata body) external pure returns (bool) {
        return Bodies.isSuperseded(body);
    }

    function readRevoked(bytes calldata body) external pure returns (bool, bytes32, bytes32) {
        return Bodies.readRevoked(body);
    }

    function readGovernance(bytes calldata body) external pure returns (bool, Decision memory) {
        return Bodies.readGovernance(body);
    }

    function readAnswered(bytes calldata body) external pure returns (bool, bytes32, bytes32) {
        return Bodies.readAnswered(body);
    }
}
