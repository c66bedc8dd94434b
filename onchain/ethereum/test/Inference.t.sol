// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice requestInference and answerInference (spec 30 §3).
contract InferenceTest is Fixture {
    bytes32 private _model;

    function setUp() public override {
        super.setUp();
        _model = lock(mirrorPublication());
        carry(other, 1, outcome(_model, State.COMMITTED));
    }

    function _request() private returns (InferenceRequest memory) {
        bytes32 nonce = freshNonce();
        Cid memory input = Cid(0x55, keccak256("input"));
        return InferenceRequest(own, _model, vm.addr(CONSUMER), input, "in", "client", nonce, NOW + 100);
    }

    function _call(InferenceRequest memory r) private view returns (bytes memory) {
        return abi.encodeCall(IRegistry.requestInference, (r, sign(CONSUMER, wire.hash(r))));
    }

    function _ask() private returns (bytes32) {
        InferenceRequest memory r = _request();
        return registry.requestInference(r, sign(CONSUMER, wire.hash(r)));
    }

    function _hostKey() private pure returns (HostKey memory) {
        return HostKey("sealing", vm.addr(HOST), 1, NOW + 50);
    }

    function _answer(bytes32 request) private view returns (Answer memory) {
        Cid memory output = Cid(0x70, keccak256("output"));
        return Answer(own, request, _model, "lease", output, "in", "out", RECEIPT, NOW);
    }

    function _call(Answer memory a, HostKey memory k) private view returns (bytes memory) {
        bytes memory operator = sign(OPERATOR, wire.hash(k));
        return abi.encodeCall(IRegistry.answerInference, (a, sign(HOST, wire.hash(a)), k, operator));
    }

    // --- requests

    function test_request_is_emitted_to_this_registry_once() public {
        InferenceRequest memory r = _request();
        bytes32 id = wire.digest(domain, wire.hash(r));
        bytes memory body = abi.encode(id, r.consumer, r.input, r.inputCommitment, r.clientKey, r.deadline);
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.REQUESTED, lanes(own), _model, body);
        vm.assertEq(registry.requestInference(r, sign(CONSUMER, wire.hash(r))), id, "id");
        vm.assertEq(registry.receiptOf(id), 0, "no receipt yet");
        expectUntouched(_call(r));
        vm.warp(r.deadline + 1);
        expectUntouched(_call(r));
    }

    function test_rejects_request_by_another() public {
        InferenceRequest memory r = _request();
        bytes memory call = abi.encodeCall(IRegistry.requestInference, (r, sign(STRANGER, wire.hash(r))));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, r.consumer, vm.addr(STRANGER)));
    }

    function test_rejects_request_at_another_registry() public {
        InferenceRequest memory r = _request();
        r.target = other;
        expectRefusal(_call(r), abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry));
    }

    function test_rejects_used_nonce() public {
        InferenceRequest memory r = _request();
        registry.requestInference(r, sign(CONSUMER, wire.hash(r)));
        r.clientKey = "another";
        expectRefusal(_call(r), abi.encodeWithSelector(NonceUsed.selector, r.nonce));
    }

    function test_rejects_late_request() public {
        InferenceRequest memory r = _request();
        vm.warp(r.deadline + 1);
        expectRefusal(_call(r), abi.encodeWithSelector(Expired.selector, r.deadline, r.deadline + 1));
        vm.warp(r.deadline);
        registry.requestInference(r, sign(CONSUMER, wire.hash(r)));
    }

    function test_rejects_request_of_what_is_not_committed() public {
        InferenceRequest memory r = _request();
        r.publication = "nothing";
        expectRefusal(_call(r), abi.encodeWithSelector(UnknownPublication.selector, bytes32("nothing")));
        Publication memory p = mirrorPublication();
        r.publication = lock(p);
        expectRefusal(_call(r), abi.encodeWithSelector(NotCommitted.selector, State.LOCKED));
        carry(other, 2, outcome(r.publication, State.ABORTED));
        expectRefusal(_call(r), abi.encodeWithSelector(NotCommitted.selector, State.ABORTED));
        r.publication = _model;
        carry(other, 3, outcome(_model, State.SUPERSEDED));
        expectRefusal(_call(r), abi.encodeWithSelector(NotCommitted.selector, State.SUPERSEDED));
    }

    function test_rejects_bad_input_cid() public {
        InferenceRequest memory r = _request();
        r.input = Cid(0x12, keccak256("input"));
        expectRefusal(_call(r), abi.encodeWithSelector(BadCid.selector, 0x12));
        r.input = Cid(0x55, 0);
        expectRefusal(_call(r), abi.encodeWithSelector(BadCid.selector, 0x55));
    }

    // --- answers

    function test_answer_is_emitted_to_home_once() public {
        bytes32 request = _ask();
        Answer memory a = _answer(request);
        vm.expectEmit();
        emit IRegistry.Emitted(3, 1, Kind.ANSWERED, lanes(other), _model, abi.encode(request, RECEIPT, a.output));
        (bool ok,) = address(registry).call(_call(a, _hostKey()));
        vm.assertTrue(ok, "answered");
        vm.assertEq(registry.receiptOf(request), RECEIPT, "receipt");
        expectUntouched(_call(a, _hostKey()));
        a.receiptHash = "another";
        expectUntouched(_call(a, _hostKey()));
        vm.assertEq(registry.receiptOf(request), RECEIPT, "the first stays");
    }

    function test_answer_to_a_request_at_home_goes_to_this_registry() public {
        _model = lock(homePublication());
        carry(other, 2, answer(Kind.LOCKED, _model));
        bytes32 request = _ask();
        Answer memory a = _answer(request);
        vm.expectEmit();
        emit IRegistry.Emitted(5, 1, Kind.ANSWERED, lanes(own), _model, abi.encode(request, RECEIPT, a.output));
        (bool ok,) = address(registry).call(_call(a, _hostKey()));
        vm.assertTrue(ok, "answered");
    }

    function test_superseded_model_still_answers_what_was_asked() public {
        bytes32 request = _ask();
        carry(other, 2, outcome(_model, State.SUPERSEDED));
        (bool ok,) = address(registry).call(_call(_answer(request), _hostKey()));
        vm.assertTrue(ok, "answered");
    }

    function test_rejects_host_without_an_operator() public {
        Answer memory a = _answer(_ask());
        HostKey memory k = _hostKey();
        bytes memory operator = sign(STRANGER, wire.hash(k));
        bytes memory call = abi.encodeCall(IRegistry.answerInference, (a, sign(HOST, wire.hash(a)), k, operator));
        expectRefusal(call, abi.encodeWithSelector(UnknownOperator.selector, vm.addr(STRANGER)));
    }

    function test_rejects_answer_of_another_key() public {
        Answer memory a = _answer(_ask());
        HostKey memory k = _hostKey();
        bytes memory operator = sign(OPERATOR, wire.hash(k));
        bytes memory call = abi.encodeCall(IRegistry.answerInference, (a, sign(STRANGER, wire.hash(a)), k, operator));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, vm.addr(HOST), vm.addr(STRANGER)));
    }

    function test_rejects_malformed_signatures() public {
        Answer memory a = _answer(_ask());
        HostKey memory k = _hostKey();
        bytes memory operator = sign(OPERATOR, wire.hash(k));
        bytes memory host = sign(HOST, wire.hash(a));
        bytes memory call = abi.encodeCall(IRegistry.answerInference, (a, highS(host), k, operator));
        expectRefusal(call, abi.encodeWithSelector(HighS.selector));
        call = abi.encodeCall(IRegistry.answerInference, (a, host, k, highS(operator)));
        expectRefusal(call, abi.encodeWithSelector(HighS.selector));
        call = abi.encodeCall(IRegistry.answerInference, (a, host, k, ""));
        expectRefusal(call, abi.encodeWithSelector(BadSignature.selector));
    }

    function test_rejects_answer_at_another_registry_or_to_nothing() public {
        Answer memory a = _answer(_ask());
        a.target = third;
        bytes memory refusal = abi.encodeWithSelector(WrongRegistry.selector, third.registry, own.registry);
        expectRefusal(_call(a, _hostKey()), refusal);
        a = _answer("nothing");
        expectRefusal(_call(a, _hostKey()), abi.encodeWithSelector(UnknownRequest.selector, bytes32("nothing")));
    }

    function test_rejects_host_keys_out_of_time() public {
        Answer memory a = _answer(_ask());
        HostKey memory k = _hostKey();
        k.epoch = 2;
        expectRefusal(_call(a, k), abi.encodeWithSelector(WrongEpoch.selector, 1, 2));
        k.epoch = 1;
        vm.warp(NOW + 51);
        expectRefusal(_call(a, k), abi.encodeWithSelector(HostKeyExpired.selector, NOW + 50, NOW + 51));
        k.until = NOW + 1000;
        vm.warp(NOW + 101);
        expectRefusal(_call(a, k), abi.encodeWithSelector(Expired.selector, NOW + 100, NOW + 101));
    }

    function test_rejects_answer_to_another_question() public {
        bytes32 request = _ask();
        bytes memory refusal = abi.encodeWithSelector(WrongCommitment.selector);
        Answer memory a = _answer(request);
        a.publication = "another";
        expectRefusal(_call(a, _hostKey()), refusal);
        a = _answer(request);
        a.inputCommitment = "another";
        expectRefusal(_call(a, _hostKey()), refusal);
        a = _answer(request);
        a.receiptHash = 0;
        expectRefusal(_call(a, _hostKey()), refusal);
        a = _answer(request);
        a.output.codec = 1;
        expectRefusal(_call(a, _hostKey()), abi.encodeWithSelector(BadCid.selector, 1));
    }
}
