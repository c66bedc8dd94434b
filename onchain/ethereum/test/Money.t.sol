// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry, IToken} from "./support/IRegistry.sol";

/// @notice fundWithPermit and withdraw (spec 30 §3 and §5).
contract MoneyTest is Fixture {
    address private _publisher = vm.addr(PUBLISHER);

    // --- in

    function _fundCall(uint256 key, uint128 amount, uint256 deadline) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, amount, deadline);
        return abi.encodeCall(IRegistry.fundWithPermit, (_publisher, amount, deadline, v, r, s));
    }

    function test_permit_moves_tokens_into_the_balance_once() public {
        token.mint(_publisher, 700);
        bytes memory call = _fundCall(PUBLISHER, 500, NOW);
        vm.expectEmit();
        emit IRegistry.Funded(_publisher, 500);
        (bool ok,) = address(registry).call(call);
        vm.assertTrue(ok, "funded");
        vm.assertEq(registry.balance(_publisher), OPENING + 500, "balance");
        vm.assertEq(registry.tokens(_publisher), 200, "tokens");
        // Also when the account has allowed the registry more since.
        vm.prank(_publisher);
        token.approve(address(registry), 200);
        expectUntouched(call);
        vm.assertEq(registry.tokens(_publisher), 200, "tokens");
    }

    function test_permit_used_at_the_token_by_another_still_counts_once() public {
        token.mint(_publisher, 700);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PUBLISHER, 500, NOW);
        token.permit(_publisher, address(registry), 500, NOW, v, r, s);
        registry.fundWithPermit(_publisher, 500, NOW, v, r, s);
        vm.assertEq(registry.balance(_publisher), OPENING + 500, "balance");
        expectUntouched(abi.encodeCall(IRegistry.fundWithPermit, (_publisher, 500, NOW, v, r, s)));
    }

    function test_rejects_permit_of_another() public {
        token.mint(_publisher, 500);
        bytes32 digest = _digestOf(500, NOW, token.nonces(_publisher));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(STRANGER, digest);
        bytes memory call = abi.encodeCall(IRegistry.fundWithPermit, (_publisher, 500, NOW, v, r, s));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, _publisher, vm.addr(STRANGER)));
    }

    function test_rejects_permit_of_an_account_that_never_signed_one() public {
        address consumer = vm.addr(CONSUMER);
        token.mint(consumer, 500);
        bytes32 digest = _digestOf(consumer, 500, NOW, 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(STRANGER, digest);
        bytes memory call = abi.encodeCall(IRegistry.fundWithPermit, (consumer, 500, NOW, v, r, s));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, consumer, vm.addr(STRANGER)));
    }

    function test_rejects_permit_that_is_older_than_the_last_one() public {
        token.mint(_publisher, 500);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PUBLISHER, 500, NOW);
        token.permit(_publisher, address(registry), 500, NOW, v, r, s);
        (uint8 v2, bytes32 r2, bytes32 s2) = signPermit(PUBLISHER, 1, NOW);
        token.permit(_publisher, address(registry), 1, NOW, v2, r2, s2);
        address recovered = ecrecover(_digestOf(500, NOW, token.nonces(_publisher)), v, r, s);
        bytes memory call = abi.encodeCall(IRegistry.fundWithPermit, (_publisher, 500, NOW, v, r, s));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, _publisher, recovered));
    }

    function test_rejects_malformed_permits() public {
        token.mint(_publisher, 500);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PUBLISHER, 500, NOW);
        bytes memory call = abi.encodeCall(IRegistry.fundWithPermit, (_publisher, 500, NOW, v - 27, r, s));
        expectRefusal(call, abi.encodeWithSelector(BadSignature.selector));
        bytes32 high = bytes32(2 * HALF_ORDER + 1 - uint256(s));
        call = abi.encodeCall(IRegistry.fundWithPermit, (_publisher, 500, NOW, 55 - v, r, high));
        expectRefusal(call, abi.encodeWithSelector(HighS.selector));
    }

    function test_rejects_funding_of_nothing_too_late_or_too_much() public {
        token.mint(_publisher, 500);
        expectRefusal(_fundCall(PUBLISHER, 0, NOW), abi.encodeWithSelector(ZeroAmount.selector));
        bytes memory late = abi.encodeWithSelector(Expired.selector, NOW - 1, NOW);
        expectRefusal(_fundCall(PUBLISHER, 500, NOW - 1), late);
        bytes memory low = abi.encodeWithSelector(LowBalance.selector, 501, 500);
        expectRefusal(_fundCall(PUBLISHER, 501, type(uint256).max), low);
    }

    function test_rejects_more_tokens_than_balances_can_show() public {
        token.mint(_publisher, type(uint128).max);
        uint256 sum = uint256(type(uint128).max) - 5 + OPENING;
        bytes memory call = _fundCall(PUBLISHER, type(uint128).max - 5, NOW);
        expectRefusal(call, abi.encodeWithSelector(OutOfRange.selector, 128, sum));
    }

    // --- out

    function _withdrawal(uint128 amount) private returns (Withdrawal memory) {
        return Withdrawal(own, _publisher, vm.addr(STRANGER), amount, freshNonce(), NOW);
    }

    function _call(Withdrawal memory w) private view returns (bytes memory) {
        return abi.encodeCall(IRegistry.withdraw, (w, sign(PUBLISHER, wire.hash(w))));
    }

    function test_withdraw_moves_balance_out_once() public {
        Withdrawal memory w = _withdrawal(300);
        vm.expectEmit();
        emit IRegistry.Withdrawn(_publisher, w.recipient, 300);
        (bool ok,) = address(registry).call(_call(w));
        vm.assertTrue(ok, "withdrawn");
        vm.assertEq(registry.balance(_publisher), OPENING - 300, "balance");
        vm.assertEq(registry.tokens(w.recipient), 300, "tokens");
        expectUntouched(_call(w));
        vm.warp(NOW + 1);
        expectUntouched(_call(w));
        vm.assertEq(registry.tokens(w.recipient), 300, "tokens, once");
    }

    function test_rejects_withdrawal_by_another() public {
        Withdrawal memory w = _withdrawal(1);
        bytes memory call = abi.encodeCall(IRegistry.withdraw, (w, sign(STRANGER, wire.hash(w))));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, _publisher, vm.addr(STRANGER)));
    }

    function test_rejects_withdrawal_at_another_registry() public {
        Withdrawal memory w = _withdrawal(1);
        w.target = other;
        expectRefusal(_call(w), abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry));
        w.target = Lane(other.chain, own.registry);
        expectRefusal(_call(w), abi.encodeWithSelector(WrongRegistry.selector, own.registry, own.registry));
    }

    function test_rejects_withdrawal_of_nothing_too_late_or_too_much() public {
        expectRefusal(_call(_withdrawal(0)), abi.encodeWithSelector(ZeroAmount.selector));
        Withdrawal memory w = _withdrawal(1);
        w.deadline = NOW - 1;
        expectRefusal(_call(w), abi.encodeWithSelector(Expired.selector, NOW - 1, NOW));
        bytes memory low = abi.encodeWithSelector(LowBalance.selector, OPENING + 1, OPENING);
        expectRefusal(_call(_withdrawal(OPENING + 1)), low);
    }

    function test_rejects_used_nonce_of_any_action() public {
        Publication memory p = homePublication();
        lock(p);
        Withdrawal memory w = _withdrawal(1);
        w.nonce = p.nonce;
        expectRefusal(_call(w), abi.encodeWithSelector(NonceUsed.selector, p.nonce));
        w = _withdrawal(1);
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
        Withdrawal memory second = _withdrawal(2);
        second.nonce = w.nonce;
        expectRefusal(_call(second), abi.encodeWithSelector(NonceUsed.selector, w.nonce));
        // A refused action leaves its nonce free.
        w = _withdrawal(OPENING);
        expectRefusal(_call(w), abi.encodeWithSelector(LowBalance.selector, OPENING, OPENING - MIN_DEPOSIT - 1));
        (w.amount) = 5;
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
    }

    function test_deposit_cannot_be_withdrawn_while_it_is_held() public {
        lock(homePublication());
        bytes memory low = abi.encodeWithSelector(LowBalance.selector, OPENING, OPENING - MIN_DEPOSIT);
        expectRefusal(_call(_withdrawal(OPENING)), low);
    }

    function test_token_that_calls_back_gains_nothing() public {
        Callback evil = new Callback();
        token = IToken(address(evil));
        evil.mint(_publisher, 20);
        registry = deployRegistry(genesis(), MIN_DEPOSIT, WINDOW);
        own = registry.lane();
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PUBLISHER, 20, NOW);
        registry.fundWithPermit(_publisher, 20, NOW, v, r, s);
        Withdrawal memory w = _withdrawal(10);
        Withdrawal memory second = _withdrawal(10);
        evil.arm(address(registry), _call(second));
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
        vm.assertTrue(evil.refused(), "the second withdrawal ran inside the first");
        vm.assertEq(registry.balance(_publisher), 10, "balance");
    }

    /// @dev What is not the amount asked for is not credited either: only what really came.
    function test_token_that_keeps_a_fee_credits_what_came() public {
        Callback dear = new Callback();
        dear.setFee(3);
        token = IToken(address(dear));
        dear.mint(_publisher, 10);
        registry = deployRegistry(genesis(), MIN_DEPOSIT, WINDOW);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(PUBLISHER, 10, NOW);
        registry.fundWithPermit(_publisher, 10, NOW, v, r, s);
        vm.assertEq(registry.balance(_publisher), 7, "balance");
    }

    function testFuzz_in_and_out_keeps_every_token(uint128 amount, uint128 out) public {
        amount = uint128(bound(amount, 1, type(uint128).max - OPENING));
        out = uint128(bound(out, 1, uint256(amount) + OPENING));
        fund(PUBLISHER, amount);
        Withdrawal memory w = _withdrawal(out);
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
        vm.assertEq(token.balanceOf(address(registry)), registry.balance(_publisher), "held");
        vm.assertEq(uint256(registry.balance(_publisher)) + out, uint256(amount) + OPENING, "sum");
    }

    function _digestOf(uint128 amount, uint256 deadline, uint256 nonce) private view returns (bytes32) {
        return _digestOf(_publisher, amount, deadline, nonce);
    }

    function _digestOf(address owner, uint128 amount, uint256 deadline, uint256 nonce) private view returns (bytes32) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 hashed = keccak256(abi.encode(kind, owner, address(registry), amount, nonce, deadline));
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), hashed));
    }
}

/// @notice A hostile token: calls back on transfers, or keeps a fee.
contract Callback {
    mapping(address => uint256) public balanceOf;
    mapping(address => uint256) public nonces;
    bytes32 public constant DOMAIN_SEPARATOR = keccak256("callback");
    bool public refused;
    uint256 private _fee;
    address private _target;
    bytes private _call;

    function mint(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function setFee(uint256 fee) external {
        _fee = fee;
    }

    function permit(address owner, address, uint256, uint256, uint8, bytes32, bytes32) external {
        nonces[owner]++;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        balanceOf[from] -= value;
        balanceOf[to] += value - _fee;
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        if (_target != address(0)) {
            (bool ok,) = _target.call(_call);
            refused = !ok;
        }
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        return true;
    }
}
