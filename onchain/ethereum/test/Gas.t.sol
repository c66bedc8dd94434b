// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice What the calls cost: execution only, as if each were the first call of its transaction.
/// @dev A transaction also pays 21,000 and its calldata. The limits are what was measured and a little more, so that a
/// change that makes a call dearer is seen.
contract GasTest is Fixture {
    // Storage and accounts as cold as a transaction of its own would find them.
    function _measure(bytes memory call) private returns (uint256 used) {
        vm.cool(address(registry));
        uint256 before = gasleft();
        (bool ok,) = address(registry).call(call);
        used = before - gasleft();
        vm.assertTrue(ok, "refused");
    }

    function _check(string memory name, uint256 used, uint256 limit) private pure {
        vm.assertTrue(used <= limit, string.concat(name, " costs ", vm.toString(used)));
        vm.assertTrue(used > limit - limit / 10, string.concat(name, " costs only ", vm.toString(used)));
    }

    function _lockCall(Publication memory p) private view returns (bytes memory) {
        return abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
    }

    function test_lock_at_home() public {
        // The second one: the first also learns the mirror's lane, once for ever.
        lock(homePublication());
        Publication memory p = homePublication();
        p.version = 2;
        _check("lockModel at home", _measure(_lockCall(p)), 176_000);
    }

    function test_lock_at_mirror() public {
        lock(mirrorPublication());
        _check("lockModel at a mirror", _measure(_lockCall(mirrorPublication())), 126_500);
    }

    function test_first_lock_learns_a_lane() public {
        _check("first lockModel at home", _measure(_lockCall(homePublication())), 249_000);
    }

    function _run(uint256 count, bool home) private returns (bytes memory) {
        fund(PUBLISHER, 1_000_000);
        Event[] memory events = new Event[](count);
        for (uint256 i = 0; i < count; i++) {
            Publication memory p = home ? homePublication() : mirrorPublication();
            p.version = uint64(i + 1);
            p.name = string.concat("model-", vm.toString(i));
            bytes32 id = lock(p);
            events[i] = home ? answer(Kind.LOCKED, id) : outcome(id, State.COMMITTED);
        }
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 257, events);
        return abi.encodeCall(IRegistry.applyRun, (certificate, items, proof));
    }

    function test_apply_run_at_home() public {
        _check("applyRun, 1 LOCKED", _measure(_run(1, true)), 118_500);
    }

    function test_apply_run_of_10_at_home() public {
        _check("applyRun, 10 LOCKED", _measure(_run(10, true)), 617_000);
    }

    function test_apply_run_of_100_at_home() public {
        _check("applyRun, 100 LOCKED", _measure(_run(100, true)), 5_710_000);
    }

    function test_apply_run_at_mirror() public {
        _check("applyRun, 1 OUTCOME", _measure(_run(1, false)), 70_000);
    }

    function test_apply_run_of_10_at_mirror() public {
        _check("applyRun, 10 OUTCOME", _measure(_run(10, false)), 211_500);
    }

    function test_apply_run_of_100_at_mirror() public {
        _check("applyRun, 100 OUTCOME", _measure(_run(100, false)), 1_690_000);
    }

    // Money, requests and answers are the extension's, which makes each the first call of an account: about 3,000.
    function test_withdraw() public {
        Withdrawal memory w = Withdrawal(own, vm.addr(PUBLISHER), vm.addr(STRANGER), 1, freshNonce(), DEADLINE);
        _check("withdraw", _measure(abi.encodeCall(IRegistry.withdraw, (w, sign(PUBLISHER, wire.hash(w))))), 80_000);
    }

    function test_request() public {
        bytes32 model = lock(mirrorPublication());
        carry(other, 1, outcome(model, State.COMMITTED));
        Cid memory input = Cid(0x55, keccak256("input"));
        InferenceRequest memory r =
            InferenceRequest(own, model, vm.addr(CONSUMER), input, "in", "client", freshNonce(), NOW);
        bytes memory call = abi.encodeCall(IRegistry.requestInference, (r, sign(CONSUMER, wire.hash(r))));
        _check("requestInference", _measure(call), 92_500);
    }
}
