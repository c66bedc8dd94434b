// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {Batching} from "./support/Batching.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice What the calls cost: execution only, as if each were the first call of its transaction.
/// @dev A transaction also pays 21,000 and its calldata. The limits are what was measured and a little more, so that a
/// change that makes a call dearer is seen.
contract GasTest is Batching {
    // Of a whole transaction (EIP-7825).
    uint256 private constant MOST = 1 << 24;
    // As many of the dearest publications as fit.
    uint256 private constant DEAREST = 197;

    // Storage and accounts as cold as a transaction of its own would find them.
    function _measure(bytes memory call) private returns (uint256 used) {
        vm.cool(address(registry));
        (bool ok,) = address(registry).call(call);
        vm.assertTrue(ok, "refused");
        // Not by `gasleft` before and after it: to copy a long call costs as much as the memory of the test is large.
        used = vm.lastCallGas().gasTotalUsed;
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
        _check("lockModel at home", _measure(_lockCall(p)), 130_000);
    }

    function test_lock_at_mirror() public {
        lock(mirrorPublication());
        _check("lockModel at a mirror", _measure(_lockCall(mirrorPublication())), 95_000);
    }

    function test_first_lock_learns_a_lane() public {
        _check("first lockModel at home", _measure(_lockCall(homePublication())), 265_500);
    }

    // --- batches

    // What the transaction costs besides running the call.
    function _overhead(bytes memory call) private pure returns (uint256 gas) {
        gas = 21_000;
        for (uint256 i = 0; i < call.length; i++) {
            gas += call[i] == 0 ? 4 : 16;
        }
    }

    // Of one publisher that is known here, with the lane of the mirror known.
    function _lockBatch(uint256 count, uint256 limit) private {
        fund(PUBLISHER, 1_000_000);
        lock(homePublication());
        bytes memory call = batchCall(homeBatch(count));
        uint256 used = _measure(call);
        _check(string.concat("lockBatch of ", vm.toString(count)), used, limit);
        vm.assertTrue(used + _overhead(call) < MOST, "does not fit a transaction");
    }

    function test_lock_batch_of_1() public {
        _lockBatch(1, 129_500);
    }

    function test_lock_batch_of_10() public {
        _lockBatch(10, 637_000);
    }

    function test_lock_batch_of_100() public {
        _lockBatch(100, 5_710_000);
    }

    function test_lock_batch_of_200() public {
        _lockBatch(200, 11_350_000);
    }

    function test_lock_batch_of_256() public {
        _lockBatch(256, 14_510_000);
    }

    // Seven mirrors and names as long as they may be, each of a publisher of its own, nothing known here.
    function test_largest_batch_of_the_dearest_publications() public {
        Lane[] memory mirrors = new Lane[](7);
        for (uint256 i = 0; i < 7; i++) {
            mirrors[i] = Lane(keccak256("a chain"), bytes32(uint256(uint160(uint256(keccak256(abi.encode(i)))))));
            for (uint256 j = i; j > 0 && mirrors[j].registry < mirrors[j - 1].registry; j--) {
                (mirrors[j], mirrors[j - 1]) = (mirrors[j - 1], mirrors[j]);
            }
        }
        Publication[] memory ps = batchOf(DEAREST, own, mirrors);
        bytes[] memory signatures = new bytes[](DEAREST);
        for (uint256 i = 0; i < DEAREST; i++) {
            uint256 key = 0x100000 + i;
            fund(key, type(uint64).max);
            (ps[i].publisher, ps[i].deposit, ps[i].version) = (vm.addr(key), type(uint64).max, type(uint64).max);
            ps[i].name = "abcdefghijklmnopqrstuvwxyz-0123456789_abcdefghijklmnopqrstuvwxyz";
            (ps[i].capsuleHash, ps[i].ciphertext.digest) = (keccak256(abi.encode(i)), keccak256(abi.encode(i, i)));
            signatures[i] = sign(key, wire.hash(ps[i]));
        }
        bytes memory call = abi.encodeCall(IRegistry.lockBatch, (ps, signatures));
        uint256 used = _measure(call) + _overhead(call);
        _check("lockBatch of the dearest, the whole transaction", used, MOST);
    }

    function test_answer_batch() public {
        registry.answerBatch(other, "before");
        _check("answerBatch", _measure(abi.encodeCall(IRegistry.answerBatch, (other, "root"))), 35_000);
    }

    function _carryCall(Event memory e) private view returns (bytes memory) {
        Event[] memory events = new Event[](1);
        events[0] = e;
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 257, events);
        return abi.encodeCall(IRegistry.applyRun, (certificate, items, proof));
    }

    function test_apply_batch_answer() public {
        bytes32 root = lockAll(homeBatch(3));
        _check("applyRun, 1 BATCH_ANSWERED that commits", _measure(_carryCall(batchAnswer(root, 1))), 89_500);
    }

    function test_apply_batch_outcome() public {
        lock(mirrorPublication());
        registry.answerBatch(other, "root");
        bytes memory call = _carryCall(batchOutcome("root", State.COMMITTED, 256, 0));
        _check("applyRun, 1 BATCH_OUTCOME", _measure(call), 70_500);
    }

    function test_take_out_at_home() public {
        fund(PUBLISHER, 1_000_000);
        lock(homePublication());
        Publication[] memory ps = homeBatch(256);
        carry(other, 1, batchAnswer(lockAll(ps), 1));
        _check("takeOut at home", _measure(takeOutCall(ps, 100)), 118_700);
    }

    function test_take_out_at_mirror() public {
        lock(mirrorPublication());
        Publication[] memory ps = mirrorBatch(256);
        carry(other, 1, batchOutcome(rootOfBatch(ps), State.COMMITTED, 256, 0));
        _check("takeOut at a mirror", _measure(takeOutCall(ps, 100)), 92_700);
    }

    // What a contract pays that reads it: the path of 8 siblings, the batch, the record that it does not have.
    function test_read_state_in() public {
        Publication[] memory ps = mirrorBatch(256);
        carry(other, 1, batchOutcome(rootOfBatch(ps), State.COMMITTED, 256, 0));
        bytes memory call = abi.encodeCall(IRegistry.stateIn, (idOf(ps[100]), proofOf(ps, 100)));
        _check("stateIn of 256", _measure(call), 13_500);
    }

    // --- runs

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
        _check("applyRun, 1 OUTCOME", _measure(_run(1, false)), 71_000);
    }

    function test_apply_run_of_10_at_mirror() public {
        _check("applyRun, 10 OUTCOME", _measure(_run(10, false)), 211_500);
    }

    function test_apply_run_of_100_at_mirror() public {
        _check("applyRun, 100 OUTCOME", _measure(_run(100, false)), 1_690_000);
    }

    // --- validator sets

    function _change(EpochSet memory next, uint256 first, uint8 q, uint256 firstNext, Lane[] memory others)
        private
        view
        returns (bytes memory)
    {
        SetChange memory order = SetChange(own, next.epoch - 1, next, others);
        bytes32 structHash = wire.hash(order);
        uint8 nextQ = uint8((next.validators.length + next.f) / 2 + 1);
        return abi.encodeCall(
            IRegistry.changeSet, (order, signOrder(structHash, first, q), signOrder(structHash, firstNext, nextQ))
        );
    }

    // From 64 validators to 64 others, with 64 lanes: whatever is lawful fits a transaction.
    function test_largest_change_of_the_set() public {
        attachEpochs();
        _measure(_change(epochSet(2, 0x200000, 64), FIRST_VALIDATOR, 3, 0x200000, new Lane[](0)));
        registry.retireSet();
        Lane[] memory others = new Lane[](64);
        for (uint256 i = 0; i < 64; i++) {
            others[i] = Lane(bytes32(uint256(5)), bytes32(i + 1));
        }
        bytes memory call = _change(epochSet(3, 0x300000, 64), 0x200000, 43, 0x300000, others);
        uint256 used = _measure(call) + _overhead(call);
        _check("changeSet of 64, the whole transaction", used, 6_000_000);
        vm.assertTrue(used < MOST, "does not fit a transaction");
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
