// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Test} from "./Vm.sol";

/// @title Reading a suite of vectors/
/// @notice A cheatcode reads all of the JSON it is given at each question, so files are cut into their cases first.
abstract contract Suite is Test {
    // The text of one file, whose sha256 is the manifest's.
    function load(string memory name) internal view returns (string memory json) {
        string memory folder = vm.envOr("CAIMI_VECTORS", string.concat(vm.projectRoot(), "/../../vectors"));
        json = vm.readFile(string.concat(folder, "/", name));
        string memory manifest = vm.readFile(string.concat(folder, "/manifest.json"));
        for (uint256 i = 0; vm.keyExistsJson(manifest, item(".suites", i)); i++) {
            string memory key = item(".suites", i);
            if (keccak256(bytes(vm.parseJsonString(manifest, string.concat(key, ".suite")))) != keccak256(bytes(name))) continue;
            bytes32 expected = vm.parseJsonBytes32(manifest, string.concat(key, ".sha256"));
            vm.assertEq(sha256(bytes(json)), expected, string.concat(name, " is not the file that the manifest names"));
            return json;
        }
        revert(string.concat("the manifest does not name ", name));
    }

    function item(string memory list, uint256 index) internal pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    // What a failure is called.
    function title(string memory json) internal pure returns (string memory) {
        return string.concat(vm.toString(vm.parseJsonUint(json, ".tcId")), ": ", vm.parseJsonString(json, ".comment"));
    }

    // The objects of one list of the outermost object, each as its own text.
    function cut(string memory json, string memory list) internal pure returns (string[] memory cases) {
        bytes memory text = bytes(json);
        uint256 begin = _after(text, bytes(string.concat('"', list, '": [')));
        uint256[] memory bounds = _bounds(text, begin);
        cases = new string[](bounds.length / 2);
        for (uint256 i = 0; i < cases.length; i++) {
            cases[i] = string(_slice(text, bounds[2 * i], bounds[2 * i + 1]));
        }
    }

    // Place after the first occurrence of `word`.
    function _after(bytes memory text, bytes memory word) private pure returns (uint256) {
        bytes32 wanted = keccak256(word);
        uint256 length = word.length;
        for (uint256 i = 0; i + length <= text.length; i++) {
            if (text[i] != word[0] || text[i + 1] != word[1]) continue;
            bytes32 found;
            assembly ("memory-safe") {
                found := keccak256(add(add(text, 0x20), i), length)
            }
            if (found == wanted) return i + length;
        }
        revert("the suite has no such list");
    }

    // First and last place of each object from `begin` to the end of the list.
    function _bounds(bytes memory text, uint256 begin) private pure returns (uint256[] memory bounds) {
        bounds = new uint256[](4000);
        uint256 count = 0;
        uint256 depth = 0;
        bool quoted = false;
        for (uint256 i = begin; i < text.length; i++) {
            bytes1 c = text[i];
            if (c == '"') {
                quoted = !quoted;
            } else if (quoted) {
                if (c == "\\") i++;
            } else if (c == "{" || c == "[") {
                if (depth++ == 0) bounds[count++] = i;
            } else if (c == "}" || c == "]") {
                if (depth == 0) break;
                if (--depth == 0) bounds[count++] = i + 1;
            }
        }
        assembly ("memory-safe") {
            mstore(bounds, count)
        }
    }

    function _slice(bytes memory text, uint256 begin, uint256 end) private pure returns (bytes memory part) {
        part = new bytes(end - begin);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(text, 0x20), begin), sub(end, begin))
        }
    }
}
