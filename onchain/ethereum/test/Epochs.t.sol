// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {ISets} from "../src/ISets.sol";
import {
    BadEncoding,
    ForbiddenCaller,
    UnknownFunction,
    UnknownSet,
    WrongChain,
    WrongCommitment
} from "../src/libs/Errors.sol";
import {IRegistry} from "./support/IRegistry.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice How a registry gets the code of spec 42, and who reaches what of it. What it does is in the vectors.
contract EpochsTest is Fixture {
    function test_registry_knows_the_code_by_its_hash() public {
        address code = create(vm.getCode("CaimiEpochs.sol:CaimiEpochs"));
        vm.assertTrue(!answers(address(registry), abi.encodeCall(IRegistry.epochs, ()), 0x0), "before");
        registry.attachEpochs(code);
        attachEpochs();
        (uint64 before,,, uint64 announced,) = registry.epochs();
        vm.assertTrue(before | announced == 0, "epochs");
        (uint64 epoch,,, address[] memory validators) = registry.validatorSetOf(1);
        vm.assertTrue(epoch == 1 && validators.length == 4, "validatorSetOf");
    }

    function test_rejects_other_code() public {
        address[4] memory others = [address(0), address(this), address(registry), vm.addr(1)];
        for (uint256 i = 0; i < others.length; i++) {
            refused(address(registry), abi.encodeCall(IRegistry.attachEpochs, (others[i])), WrongCommitment.selector);
        }
    }

    function test_without_the_code_there_are_no_such_functions() public {
        EpochSet memory next;
        refused(address(registry), abi.encodeCall(IRegistry.retireSet, ()), UnknownFunction.selector);
        refused(address(registry), abi.encodeCall(IRegistry.enterSet, (next)), UnknownFunction.selector);
    }

    function test_nobody_but_the_registry_applies() public {
        attachEpochs();
        bytes memory body = abi.encode(uint64(1), uint64(2));
        bytes memory call = abi.encodeCall(ISets.applySet, (bytes32("source"), 1, Kind.SET_CHANGE, "set", body));
        refused(address(registry), call, UnknownFunction.selector);
        bytes[] memory calls = new bytes[](1);
        calls[0] = call;
        refused(address(registry), abi.encodeCall(IRegistry.multicall, (calls)), UnknownFunction.selector);
        refused(address(registry), hex"12345678", UnknownFunction.selector);
    }

    function test_nobody_gives_the_extension_code() public {
        // The first contract that the registry creates: keccak256(rlp([registry, 1])).
        address extension =
            address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(registry), hex"01")))));
        address code = create(vm.getCode("CaimiEpochs.sol:CaimiEpochs"));
        refused(extension, abi.encodeCall(IRegistry.attachEpochs, (code)), ForbiddenCaller.selector);
        attachEpochs();
        refused(extension, abi.encodeCall(IRegistry.retireSet, ()), UnknownFunction.selector);
    }

    function test_words_about_sets_come_again_once_the_code_is_there() public {
        (EpochSet memory next, bytes memory call) = announcement();
        vm.assertTrue(answers(address(registry), call, 0x0) && !registry.isMarked(other, 1, 1), "marked");
        refused(address(registry), abi.encodeCall(IRegistry.enterSet, (next)), UnknownFunction.selector);
        attachEpochs();
        refused(address(registry), abi.encodeCall(IRegistry.enterSet, (next)), UnknownSet.selector);
        vm.assertTrue(answers(address(registry), call, 0x0) && registry.isMarked(other, 1, 1), "not marked");
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(IRegistry.enterSet, (next));
        registry.multicall(calls);
        (uint64 before, bytes32 set,,,) = registry.epochs();
        (uint64 present,,,) = registry.validatorSet();
        vm.assertTrue(before == 1 && present == 2 && set == wire.hash(next), "entered");
    }

    /// @dev Out of gas is no disposition, wherever it is in the three contracts, and no malformed call.
    function test_a_word_about_a_set_is_applied_whole_or_not_at_all() public {
        (, bytes memory call) = announcement();
        attachEpochs();
        bytes[] memory calls = new bytes[](1);
        calls[0] = call;
        bytes[2] memory ways = [call, abi.encodeCall(IRegistry.multicall, (calls))];
        for (uint256 way = 0; way < 2; way++) {
            uint256 before = vm.snapshotState();
            uint256 failures = 0;
            bool ok = false;
            for (uint256 limit = 20_000; !ok; limit += 487) {
                bytes memory answer;
                (ok, answer) = address(registry).call{gas: limit}(ways[way]);
                vm.assertTrue(ok || bytes4(answer) != BadEncoding.selector, vm.toString(limit));
                (,,, uint64 announced,) = registry.epochs();
                vm.assertTrue(announced == (ok ? 2 : 0) && registry.isMarked(other, 1, 1) == ok, "in part");
                if (!ok) failures++;
            }
            vm.assertTrue(failures > 100, "the limits begin too high to show anything");
            vm.revertToState(before);
        }
    }

    // A registry whose root is another one, and the run by which that tells of a set.
    function announcement() private returns (EpochSet memory next, bytes memory call) {
        rootLane = other;
        begin();
        next = epochSet(2, 0x200000, 7);
        Event[] memory events = new Event[](1);
        events[0] = Event(1, Kind.SET_CHANGE, new Lane[](0), wire.hash(next), abi.encode(uint64(1), uint64(2)));
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        call = abi.encodeCall(IRegistry.applyRun, (certificate, items, proof));
    }

    function test_the_code_itself_is_no_registry() public {
        address code = create(vm.getCode("CaimiEpochs.sol:CaimiEpochs"));
        EpochSet memory next;
        refused(code, abi.encodeCall(IRegistry.retireSet, ()), ForbiddenCaller.selector);
        refused(code, abi.encodeCall(IRegistry.enterSet, (next)), ForbiddenCaller.selector);
    }

    function test_rejects_a_fork_with_another_chain_id() public {
        attachEpochs();
        vm.chainId(31_338);
        EpochSet memory next;
        refused(address(registry), abi.encodeCall(IRegistry.retireSet, ()), WrongChain.selector);
        refused(address(registry), abi.encodeCall(IRegistry.enterSet, (next)), WrongChain.selector);
    }

    function refused(address where, bytes memory call, bytes4 selector) private {
        vm.assertTrue(answers(where, call, selector), "another answer");
    }

    // Whether a call is refused with this error, or with 0x0 whether it succeeds.
    function answers(address where, bytes memory call, bytes4 selector) private returns (bool) {
        (bool ok, bytes memory answer) = where.call(call);
        return selector == 0 ? ok : !ok && bytes4(answer) == selector;
    }
}
