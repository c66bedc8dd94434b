// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IToken} from "./IRegistry.sol";

/// @notice One log, as `getRecordedLogs` gives it.
struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

/// @notice What the last call to another contract used, by itself.
struct Gas {
    uint64 gasLimit;
    uint64 gasTotalUsed;
    uint64 gasMemoryUsed;
    int64 gasRefunded;
    uint64 gasRemaining;
}

/// @notice The cheatcodes that our tests use.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 time) external;
    function chainId(uint256 id) external;
    function cool(address where) external;
    function etch(address where, bytes calldata code) external;
    function prank(address sender) external;
    function deal(address account, uint256 balance) external;
    function store(address where, bytes32 slot, bytes32 value) external;
    function expectRevert(bytes calldata reason) external;
    function expectEmit() external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function record() external;
    function accesses(address where) external returns (bytes32[] memory reads, bytes32[] memory writes);
    function snapshotState() external returns (uint256);
    function revertToState(uint256 snapshot) external returns (bool);
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
    function lastCallGas() external view returns (Gas memory);
    function assume(bool condition) external pure;
    function toString(uint256 value) external pure returns (string memory);
    function envOr(string calldata name, string calldata otherwise) external view returns (string memory);
    function getCode(string calldata artefact) external view returns (bytes memory);
    function projectRoot() external view returns (string memory);
    function readFile(string calldata path) external view returns (string memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key) external pure returns (uint256[] memory);
    function parseJsonBool(string calldata json, string calldata key) external pure returns (bool);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function parseJsonBytes32(string calldata json, string calldata key) external pure returns (bytes32);
    function parseJsonBytes32Array(string calldata json, string calldata key) external pure returns (bytes32[] memory);
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function assertTrue(bool condition, string calldata why) external pure;
    function assertEq(uint256 left, uint256 right, string calldata why) external pure;
    function assertEq(address left, address right, string calldata why) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata why) external pure;
    function assertEq(string calldata left, string calldata right, string calldata why) external pure;
    function assertEq(bytes calldata left, bytes calldata right, string calldata why) external pure;
}

/// @title Base of every test contract
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // Forge looks for it.
    bool public constant IS_TEST = true;

    function deployToken(address issuer) internal returns (IToken) {
        return IToken(create(bytes.concat(vm.getCode("CaimiToken.sol:CaimiToken"), abi.encode(issuer))));
    }

    // A number from `low` to `high`, each as likely as any other if `value` is.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    // Deploys, and reverts as the constructor does.
    function create(bytes memory creation) internal returns (address where) {
        assembly ("memory-safe") {
            where := create(0, add(creation, 0x20), mload(creation))
            if iszero(where) {
                returndatacopy(mload(0x40), 0, returndatasize())
                revert(mload(0x40), returndatasize())
            }
        }
    }

    // Runs the constructor at an address of choice, so that the contract's own address is that one.
    function deployAt(address where, bytes memory creation) internal {
        vm.etch(where, creation);
        (bool ok, bytes memory code) = where.call("");
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(code, 0x20), mload(code))
            }
        }
        vm.etch(where, code);
    }
}
