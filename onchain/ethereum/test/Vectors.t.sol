// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {WrongSigner} from "../src/libs/Errors.sol";
import {Suite} from "./support/Suite.sol";
import {WireHarness} from "./support/WireHarness.sol";

/// @notice Reads vectors/wire, vectors/events and vectors/certificate.
contract VectorsTest is Suite {
    WireHarness private _wire;

    function setUp() public {
        _wire = new WireHarness();
    }

    // --- wire

    function test_records() public view {
        string memory json = load("wire/ledger.json");
        bytes32 domain = _wire.domainSeparator(vm.parseJsonBytes32(json, ".network"));
        string[] memory cases = cut(json, "cases");
        vm.assertTrue(cases.length >= 7, "cases");
        for (uint256 i = 0; i < cases.length; i++) {
            this.checkRecord(cases[i], domain);
        }
    }

    function checkRecord(string calldata json, bytes32 domain) external view {
        string memory record = vm.parseJsonString(json, ".record");
        bytes32 structHash = _wire.structHash(record, vm.parseJsonBytes(json, ".encoded"));
        vm.assertEq(structHash, vm.parseJsonBytes32(json, ".structHash"), title(json));
        bytes32 digest = _wire.digest(domain, structHash);
        vm.assertEq(digest, vm.parseJsonBytes32(json, ".digest"), title(json));
        address signer = _wire.recover(digest, vm.parseJsonBytes(json, ".signature"));
        vm.assertEq(signer, vm.parseJsonAddress(json, ".signer"), title(json));
    }

    function test_rejects_records() public view {
        string memory json = load("wire/ledger.json");
        bytes32 network = vm.parseJsonBytes32(json, ".network");
        string[] memory cases = cut(json, "refusals");
        vm.assertTrue(cases.length >= 80, "refusals");
        for (uint256 i = 0; i < cases.length; i++) {
            this.checkRefusedRecord(cases[i], network);
        }
    }

    function checkRefusedRecord(string calldata json, bytes32 network) external view {
        string memory record = vm.parseJsonString(json, ".record");
        bytes memory encoded = vm.parseJsonBytes(json, ".encoded");
        if (_is(vm.parseJsonString(json, ".place"), "encode")) {
            try _wire.structHash(record, encoded) {
                revert(string.concat("decoded: ", title(json)));
            } catch {}
            return;
        }
        if (vm.keyExistsJson(json, ".network")) network = vm.parseJsonBytes32(json, ".network");
        bytes32 digest = _wire.digest(_wire.domainSeparator(network), _wire.structHash(record, encoded));
        bytes memory signature = vm.parseJsonBytes(json, ".signature");
        address expected = vm.parseJsonAddress(json, ".signer");
        // A changed digest makes recovery give another account, or none.
        try _wire.verifySigner(digest, signature, expected) {
            revert(string.concat("verified: ", title(json)));
        } catch (bytes memory reason) {
            bool right = bytes4(reason) == WrongSigner.selector || bytes4(reason) == bytes4(keccak256("BadSignature()"));
            vm.assertTrue(right, title(json));
        }
    }

    // --- events

    function test_leaves() public view {
        string memory json = load("events/run.json");
        Lane memory source = abi.decode(vm.parseJsonBytes(json, ".source"), (Lane));
        string[] memory cases = cut(json, "items");
        vm.assertTrue(cases.length >= 13, "items");
        for (uint256 i = 0; i < cases.length; i++) {
            Item memory item = abi.decode(vm.parseJsonBytes(cases[i], ".encoded"), (Item));
            bytes32 expected = vm.parseJsonBytes32(cases[i], ".eventHash");
            vm.assertEq(_wire.eventHash(item.happened), expected, title(cases[i]));
            vm.assertEq(_wire.leafHash(source, item), vm.parseJsonBytes32(cases[i], ".leaf"), title(cases[i]));
        }
    }

    function test_runs() public view {
        string memory json = load("events/run.json");
        Lane memory source = abi.decode(vm.parseJsonBytes(json, ".source"), (Lane));
        Item[] memory items = _items(json);
        string[] memory runs = cut(json, "runs");
        vm.assertTrue(runs.length >= 13, "runs");
        for (uint256 i = 0; i < runs.length; i++) {
            uint256[] memory all = new uint256[](vm.parseJsonUint(runs[i], ".width"));
            for (uint256 j = 0; j < all.length; j++) {
                all[j] = j;
            }
            bytes32 root = vm.parseJsonBytes32(runs[i], ".root");
            _wire.checkRun(_checkpoint(source, 1, all.length, root), _pick(items, all), new bytes32[](0));
        }
        string[] memory proofs = cut(json, "proofs");
        vm.assertTrue(proofs.length >= 7, "proofs");
        for (uint256 i = 0; i < proofs.length; i++) {
            this.checkProof(proofs[i], source, items);
        }
    }

    function test_rejects_runs() public view {
        string memory json = load("events/run.json");
        Lane memory source = abi.decode(vm.parseJsonBytes(json, ".source"), (Lane));
        Item[] memory items = _items(json);
        string[] memory cases = cut(json, "refusals");
        vm.assertTrue(cases.length >= 38, "refusals");
        for (uint256 i = 0; i < cases.length; i++) {
            string memory wanted = vm.parseJsonString(cases[i], ".error");
            try this.checkProof(cases[i], source, items) {
                revert(string.concat("accepted: ", title(cases[i])));
            } catch (bytes memory reason) {
                vm.assertEq(bytes32(bytes4(reason)), bytes32(_selector(wanted)), title(cases[i]));
            }
        }
    }

    function checkProof(string calldata json, Lane calldata source, Item[] calldata items) external view {
        bytes32 root = vm.parseJsonBytes32(json, ".root");
        if (vm.keyExistsJson(json, ".encoded")) {
            Item[] memory one = new Item[](1);
            one[0] = abi.decode(vm.parseJsonBytes(json, ".encoded"), (Item));
            _wire.checkRun(_checkpoint(source, one[0].sequence, 1, root), one, new bytes32[](0));
            return;
        }
        uint256[] memory indices = vm.parseJsonUintArray(json, ".indices");
        bytes32[] memory proof = vm.parseJsonBytes32Array(json, ".proof");
        Checkpoint memory checkpoint = _checkpoint(source, 1, vm.parseJsonUint(json, ".width"), root);
        _wire.checkRun(checkpoint, _pick(items, indices), proof);
    }

    // --- certificate

    function test_certificates() public {
        string memory json = load("certificate/quorum.json");
        bytes32 domain = _adopt(json);
        uint64 epoch = uint64(vm.parseJsonUint(json, ".epoch"));
        string[] memory cases = cut(json, "cases");
        vm.assertTrue(cases.length >= 2, "cases");
        for (uint256 i = 0; i < cases.length; i++) {
            Certificate memory one = abi.decode(vm.parseJsonBytes(cases[i], ".certificate"), (Certificate));
            _wire.verifyCertificate(one, epoch, domain);
        }
    }

    function test_rejects_certificates() public {
        string memory json = load("certificate/quorum.json");
        bytes32 domain = _adopt(json);
        uint64 epoch = uint64(vm.parseJsonUint(json, ".epoch"));
        address[] memory validators = abi.decode(vm.parseJsonBytes(json, ".genesis"), (Genesis)).validators;
        string[] memory cases = cut(json, "refusals");
        vm.assertTrue(cases.length >= 26, "refusals");
        for (uint256 i = 0; i < cases.length; i++) {
            Certificate memory one = abi.decode(vm.parseJsonBytes(cases[i], ".certificate"), (Certificate));
            try _wire.verifyCertificate(one, epoch, domain) {
                revert(string.concat("verified: ", title(cases[i])));
            } catch (bytes memory reason) {
                _checkCulprit(cases[i], reason, validators);
            }
        }
    }

    function _checkCulprit(string memory json, bytes memory reason, address[] memory validators) private view {
        bytes4 wanted = _selector(vm.parseJsonString(json, ".error"));
        bytes4 actual = bytes4(reason);
        // Under a changed digest the first signature recovers another account, or none at all.
        bool noAccount = wanted == WrongSigner.selector && actual == _selector("BadSignature");
        vm.assertTrue(actual == wanted || noAccount, title(json));
        if (noAccount || !vm.keyExistsJson(json, ".signer")) return;
        uint256 signer = vm.parseJsonUint(json, ".signer");
        if (wanted == WrongSigner.selector) {
            vm.assertEq(address(uint160(_word(reason, 0))), validators[signer], title(json));
        } else if (reason.length > 4) {
            vm.assertEq(_word(reason, 0), signer, title(json));
        }
    }

    function _adopt(string memory json) private returns (bytes32) {
        Genesis memory genesis = abi.decode(vm.parseJsonBytes(json, ".genesis"), (Genesis));
        _wire.setValidators(genesis.validators, (genesis.validators.length + genesis.f) / 2 + 1);
        bytes32 network = vm.parseJsonBytes32(json, ".network");
        vm.assertEq(_wire.networkId(genesis), network, "network");
        return _wire.domainSeparator(network);
    }

    // --- parts

    function _items(string memory json) private pure returns (Item[] memory items) {
        string[] memory cases = cut(json, "items");
        items = new Item[](cases.length);
        for (uint256 i = 0; i < cases.length; i++) {
            items[i] = abi.decode(vm.parseJsonBytes(cases[i], ".encoded"), (Item));
        }
    }

    // The item of index i has sequence i + 1. An index beyond the list takes any event.
    function _pick(Item[] memory items, uint256[] memory indices) private pure returns (Item[] memory picked) {
        picked = new Item[](indices.length);
        for (uint256 i = 0; i < indices.length; i++) {
            picked[i] = Item(uint64(indices[i] + 1), items[indices[i] % items.length].happened);
        }
    }

    function _checkpoint(Lane memory source, uint256 first, uint256 width, bytes32 root)
        private
        pure
        returns (Checkpoint memory)
    {
        return Checkpoint(source, 1, 1, uint64(first), uint64(first + width - 1), root, 1, bytes32(uint256(1)));
    }

    function _selector(string memory name) private pure returns (bytes4) {
        string memory arguments = "";
        if (_is(name, "WrongSigner")) {
            arguments = "address,address";
        } else if (_is(name, "WrongRoot")) {
            arguments = "bytes32,bytes32";
        } else if (_is(name, "WrongEpoch")) {
            arguments = "uint64,uint64";
        } else if (_is(name, "TooFewSignatures")) {
            arguments = "uint256,uint256";
        } else if (_is(name, "ItemOutOfRun")) {
            arguments = "uint64";
        } else if (_is(name, "UnknownSigner") || _is(name, "DuplicateSigner") || _is(name, "UnsortedSigners")) {
            arguments = "uint256";
        }
        return bytes4(keccak256(bytes(string.concat(name, "(", arguments, ")"))));
    }

    function _is(string memory left, string memory right) private pure returns (bool) {
        return keccak256(bytes(left)) == keccak256(bytes(right));
    }

    function _word(bytes memory reason, uint256 index) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(reason, 0x24), mul(index, 0x20)))
        }
    }
}
