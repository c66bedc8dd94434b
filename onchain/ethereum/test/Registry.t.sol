// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice Creation, the chain it belongs to, multicall and views.
contract RegistryTest is Fixture {
    function create(Genesis memory descriptor, uint128 minDeposit, uint64 window) external returns (IRegistry) {
        return deployRegistry(descriptor, minDeposit, window);
    }

    function _refuse(Genesis memory descriptor, bytes memory refusal) private {
        vm.expectRevert(refusal);
        this.create(descriptor, MIN_DEPOSIT, WINDOW);
    }

    function _set(uint256 n, uint8 f, uint8 t) private pure returns (Genesis memory descriptor) {
        descriptor = genesis();
        descriptor.validators = new address[](n);
        for (uint256 i = 0; i < n; i++) {
            descriptor.validators[i] = vm.addr(FIRST_VALIDATOR + i);
        }
        (descriptor.f, descriptor.t) = (f, t);
    }

    // --- creation

    function test_rejects_quorums_out_of_bounds() public {
        uint8[3][9] memory sets =
            [[4, 0, 2], [3, 1, 2], [0, 0, 0], [6, 2, 3], [4, 1, 1], [4, 1, 4], [65, 21, 33], [64, 21, 21], [4, 255, 2]];
        for (uint256 i = 0; i < sets.length; i++) {
            (uint8 n, uint8 f, uint8 t) = (sets[i][0], sets[i][1], sets[i][2]);
            _refuse(_set(n, f, t), abi.encodeWithSelector(BadQuorum.selector, n, f, t));
        }
        this.create(_set(64, 21, 22), MIN_DEPOSIT, WINDOW);
        this.create(_set(64, 21, 43), MIN_DEPOSIT, WINDOW);
    }

    function test_rejects_bad_validator_sets() public {
        bytes memory refusal = abi.encodeWithSelector(BadValidatorSet.selector);
        Genesis memory g = genesis();
        g.validators[2] = address(0);
        _refuse(g, refusal);
        g.validators[2] = g.validators[0];
        _refuse(g, refusal);
        g = genesis();
        g.operators[0] = address(0);
        _refuse(g, refusal);
        g.operators = new address[](0);
        _refuse(g, refusal);
        g.operators = new address[](2);
        (g.operators[0], g.operators[1]) = (vm.addr(OPERATOR), vm.addr(OPERATOR));
        _refuse(g, refusal);
    }

    function test_rejects_bad_parameters() public {
        vm.expectRevert(abi.encodeWithSelector(ZeroAmount.selector));
        this.create(genesis(), 0, WINDOW);
        resumeDelay = 1 << 32;
        vm.expectRevert(abi.encodeWithSelector(OutOfRange.selector, 32, 1 << 32));
        this.create(genesis(), MIN_DEPOSIT, WINDOW);
        resumeDelay = 100;
        vm.expectRevert(abi.encodeWithSelector(OutOfRange.selector, 32, uint256(1 << 32)));
        this.create(genesis(), 1, 1 << 32);
    }

    function test_network_depends_on_every_field_of_the_descriptor() public {
        bytes32[8] memory networks;
        for (uint256 field = 0; field < 8; field++) {
            Genesis memory g = _set(7, 2, 3);
            if (field == 1) g.rootGenesis = 0;
            if (field == 2) (g.validators[0], g.validators[1]) = (g.validators[1], g.validators[0]);
            if (field == 3) g.f = 1;
            if (field == 4) g.t = 4;
            if (field == 5) g.operators[0] = vm.addr(STRANGER);
            if (field == 6) g.attestation = 1;
            if (field == 7) g.nonce = 0;
            networks[field] = this.create(g, MIN_DEPOSIT, WINDOW).network();
            for (uint256 i = 0; i < field; i++) {
                vm.assertTrue(networks[i] != networks[field], vm.toString(field));
            }
        }
    }

    function test_quorum_is_that_of_spec_00() public {
        // n, f, q: one signature less than q is refused, which shows q.
        uint8[3][5] memory sets = [[4, 1, 3], [5, 1, 4], [7, 2, 5], [10, 3, 7], [64, 21, 43]];
        for (uint256 i = 0; i < sets.length; i++) {
            registry = this.create(_set(sets[i][0], sets[i][1], sets[i][1] + 1), MIN_DEPOSIT, WINDOW);
            Certificate memory c;
            c.checkpoint.epoch = 1;
            c.signatures = new Signature[](sets[i][2] - 1);
            bytes memory refusal = abi.encodeWithSelector(TooFewSignatures.selector, sets[i][2], sets[i][2] - 1);
            vm.expectRevert(refusal);
            registry.applyRun(c, new Item[](0), new bytes32[](0));
        }
    }

    // --- the chain

    function test_rejects_every_call_on_a_fork_with_another_chain_id() public {
        Publication memory p = homePublication();
        bytes memory signature = sign(PUBLISHER, wire.hash(p));
        Withdrawal memory w;
        InferenceRequest memory r;
        Answer memory a;
        HostKey memory k;
        Certificate memory c;
        Signature[] memory none;
        bytes[13] memory calls = [
            abi.encodeCall(IRegistry.lockModel, (p, signature)),
            abi.encodeCall(IRegistry.applyRun, (c, new Item[](0), new bytes32[](0))),
            abi.encodeCall(IRegistry.abort, (bytes32(0))),
            abi.encodeCall(IRegistry.abortUnlocked, (p, signature)),
            abi.encodeCall(IRegistry.withdraw, (w, signature)),
            abi.encodeCall(IRegistry.fundWithPermit, (p.publisher, 1, NOW, 27, 0, 0)),
            abi.encodeCall(IRegistry.requestInference, (r, signature)),
            abi.encodeCall(IRegistry.answerInference, (a, signature, k, signature)),
            abi.encodeCall(IRegistry.revoke, (Revocation(own, 0, address(0), 0, 0, 0), signature)),
            abi.encodeCall(IRegistry.pause, (Pause(own, 1, 1), none)),
            abi.encodeCall(IRegistry.resume, (Resume(own, 1, 1), none)),
            abi.encodeCall(IRegistry.govern, (Governance(own, 1, 1, own, 1, 1, 1, 0), none)),
            abi.encodeCall(IRegistry.multicall, (new bytes[](0)))
        ];
        vm.chainId(1);
        bytes memory refusal = abi.encodeWithSelector(WrongChain.selector, own.chain, keccak256("eip155:1"));
        for (uint256 i = 0; i < calls.length; i++) {
            expectRefusal(calls[i], refusal);
        }
        vm.chainId(31_337);
        lock(p);
    }

    // --- multicall

    function test_multicall_runs_calls_in_order() public {
        Publication memory p = homePublication();
        bytes[] memory calls = new bytes[](3);
        calls[0] = abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
        calls[1] = calls[0];
        calls[2] = abi.encodeCall(IRegistry.balance, (p.publisher));
        bytes[] memory results = registry.multicall(calls);
        vm.assertEq(results[0], abi.encode(idOf(p)), "id");
        vm.assertEq(results[2], abi.encode(OPENING - MIN_DEPOSIT), "balance");
        vm.assertEq(registry.eventCount(), 1, "events");
    }

    function test_multicall_is_all_or_nothing() public {
        Publication memory p = homePublication();
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
        calls[1] = abi.encodeCall(IRegistry.abort, ("nothing"));
        bytes memory refusal = abi.encodeWithSelector(UnknownPublication.selector, bytes32("nothing"));
        expectRefusal(abi.encodeCall(IRegistry.multicall, (calls)), refusal);
        vm.assertTrue(stateOf(idOf(p)) == State.NONE, "locked");
    }

    function test_rejects_nested_oversize_and_unknown_calls() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(IRegistry.multicall, (new bytes[](0)));
        expectRefusal(abi.encodeCall(IRegistry.multicall, (calls)), abi.encodeWithSelector(BadEncoding.selector));
        bytes memory long = abi.encodeCall(IRegistry.multicall, (new bytes[](1001)));
        expectRefusal(long, abi.encodeWithSelector(BadEncoding.selector));
        bytes memory unknown = abi.encodeWithSelector(UnknownFunction.selector);
        bytes[4] memory bodies = [bytes(""), hex"01", hex"01020304", abi.encodeWithSignature("fund()")];
        for (uint256 i = 0; i < bodies.length; i++) {
            calls[0] = bodies[i];
            expectRefusal(abi.encodeCall(IRegistry.multicall, (calls)), unknown);
            expectRefusal(bodies[i], unknown);
        }
        calls = new bytes[](1000);
        for (uint256 i = 0; i < 1000; i++) {
            calls[i] = abi.encodeCall(IRegistry.version, ());
        }
        registry.multicall(calls);
    }

    function test_takes_no_ether() public {
        vm.deal(address(this), 2);
        (bool ok,) = address(registry).call{value: 1}("");
        vm.assertTrue(!ok, "ether without a call");
        (ok,) = address(registry).call{value: 1}(abi.encodeCall(IRegistry.multicall, (new bytes[](0))));
        vm.assertTrue(!ok, "ether with a call");
    }

    function test_malformed_calldata_changes_nothing() public {
        Publication memory p = homePublication();
        bytes memory call = abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
        // Dirty high bits of format, kind, publisher and version; a truncated call.
        uint256[4] memory places = [uint256(68), 100, 132, 196];
        for (uint256 i = 0; i < places.length; i++) {
            bytes memory dirty = bytes.concat(call);
            dirty[places[i]] = 0x01;
            (bool ok,) = address(registry).call(dirty);
            vm.assertTrue(!ok, "dirty bits");
        }
        // The decoder does not ask for the padding of the last 31 bytes.
        for (uint256 length = 4; length < call.length - 31; length += 61) {
            bytes memory cut = bytes.concat(call);
            assembly ("memory-safe") {
                mstore(cut, length)
            }
            (bool ok,) = address(registry).call(cut);
            vm.assertTrue(!ok, "truncated");
        }
        vm.assertEq(registry.eventCount(), 0, "events");
        lock(p);
    }

    // --- the registry's two contracts

    // The decoder of solc fails without a word; wherever the call was passed on, the registry gives it its name.
    function test_malformed_calls_have_their_name_where_the_decoder_is_within() public {
        Publication memory p = homePublication();
        Withdrawal memory w;
        InferenceRequest memory r;
        bytes[4] memory good = [
            abi.encodeCall(IRegistry.withdraw, (w, "")),
            abi.encodeCall(IRegistry.requestInference, (r, "")),
            abi.encodeCall(IRegistry.publication, ("")),
            abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))))
        ];
        bytes memory refusal = abi.encodeWithSelector(BadEncoding.selector);
        for (uint256 i = 0; i < good.length; i++) {
            bytes memory short = bytes.concat(good[i]);
            assembly ("memory-safe") {
                mstore(short, 20)
            }
            if (i < 3) expectRefusal(short, refusal);
            bytes[] memory calls = new bytes[](1);
            calls[0] = short;
            expectRefusal(abi.encodeCall(IRegistry.multicall, (calls)), refusal);
        }
        (bool ok, bytes memory answer) = address(registry).call(hex"bd1ccd20");
        vm.assertTrue(!ok && answer.length == 0, "of its own functions the registry cannot name it");
    }

    // Nobody may take what ran out of gas for a malformed call: it would never be sent again.
    function test_running_out_of_gas_within_is_no_bad_encoding() public {
        Withdrawal memory w = Withdrawal(own, vm.addr(PUBLISHER), vm.addr(STRANGER), 1, freshNonce(), DEADLINE);
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(IRegistry.withdraw, (w, sign(PUBLISHER, wire.hash(w))));
        bytes[2] memory ways = [calls[0], abi.encodeCall(IRegistry.multicall, (calls))];
        for (uint256 way = 0; way < 2; way++) {
            uint256 failures = 0;
            bool ok = false;
            for (uint256 limit = 2000; !ok; limit += 487) {
                uint256 before = vm.snapshotState();
                bytes memory answer;
                (ok, answer) = address(registry).call{gas: limit}(ways[way]);
                vm.assertTrue(ok || bytes4(answer) != BadEncoding.selector, vm.toString(limit));
                if (!ok) failures++;
                vm.revertToState(before);
            }
            vm.assertTrue(failures > 100, "the limits begin too high to show anything");
        }
    }

    function _extension() private view returns (address) {
        // The first contract that the registry creates: keccak256(rlp([registry, 1])).
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(registry), hex"01")))));
    }

    function test_the_extension_itself_takes_no_calls() public {
        Withdrawal memory w;
        InferenceRequest memory r;
        Answer memory a;
        HostKey memory k;
        Publication memory p;
        Signature[] memory none;
        bytes[11] memory calls = [
            abi.encodeCall(IRegistry.revoke, (Revocation(own, 0, address(0), 0, 0, 0), "")),
            abi.encodeCall(IRegistry.pause, (Pause(own, 1, 1), none)),
            abi.encodeCall(IRegistry.resume, (Resume(own, 1, 1), none)),
            abi.encodeCall(IRegistry.govern, (Governance(own, 1, 1, own, 1, 1, 1, 0), none)),
            abi.encodeCall(IRegistry.withdraw, (w, "")),
            abi.encodeCall(IRegistry.fundWithPermit, (vm.addr(PUBLISHER), 1, NOW, 27, 0, 0)),
            abi.encodeCall(IRegistry.requestInference, (r, "")),
            abi.encodeCall(IRegistry.answerInference, (a, "", k, "")),
            abi.encodeCall(IRegistry.answerBatch, (other, "root")),
            abi.encodeCall(IRegistry.abortBatch, ("root")),
            abi.encodeCall(IRegistry.takeOut, (p, "", BatchProof(own, 0, 0, new bytes32[](0))))
        ];
        address extension = _extension();
        vm.assertTrue(extension.code.length > 0, "no extension");
        for (uint256 i = 0; i < calls.length; i++) {
            (bool ok, bytes memory answer) = extension.call(calls[i]);
            vm.assertTrue(!ok && bytes4(answer) == ForbiddenCaller.selector, vm.toString(i));
        }
    }

    function test_code_has_room() public view {
        // Batches have used a part of what was kept; the two together are created by one transaction (EIP-3860).
        vm.assertTrue(address(registry).code.length <= 24_576 - 3072, "the registry has less than 3 KiB of room");
        vm.assertTrue(_extension().code.length <= 24_576 - 3072, "the extension has less than 3 KiB of room");
        vm.assertTrue(vm.getCode("CaimiRegistry.sol:CaimiRegistry").length <= 49_152 - 1024, "creation code");
    }

    // --- views

    function test_views() public view {
        vm.assertEq(registry.version(), 1, "version");
        vm.assertEq(registry.network(), wire.networkId(genesis()), "network");
        vm.assertEq(own.chain, keccak256("eip155:31337"), "chain");
        vm.assertEq(own.registry, bytes32(uint256(uint160(address(registry)))), "registry");
        vm.assertEq(registry.minDeposit(), MIN_DEPOSIT, "minDeposit");
        vm.assertEq(registry.clockWindow(), WINDOW, "clockWindow");
        (,,, uint64 delay, uint128 cap,) = registry.brakes();
        vm.assertTrue(delay == resumeDelay && cap == withdrawalCap, "brakes");
        vm.assertEq(abi.encode(registry.root()), abi.encode(own), "root");
        vm.assertEq(registry.token(), address(token), "token");
        (uint64 epoch, uint8 f, uint8 t, address[] memory validators) = registry.validatorSet();
        vm.assertEq(epoch, 1, "epoch");
        vm.assertEq(f, 1, "f");
        vm.assertEq(t, 2, "t");
        vm.assertEq(abi.encode(validators), abi.encode(genesis().validators), "validators");
    }

    function test_unknown_publication_shows_zeros() public view {
        (uint8 role, uint8 state,, string memory name,, Lane memory home, Lane[] memory mirrors,,,,) =
            registry.publication("nothing");
        vm.assertEq(uint256(role) + state + bytes(name).length + mirrors.length, 0, "zeros");
        vm.assertEq(home.chain | home.registry, 0, "home");
    }
}
