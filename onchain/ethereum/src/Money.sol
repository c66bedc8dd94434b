// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Withdrawal} from "./libs/Records.sol";
import {CapReached, Expired, LowBalance, OutOfRange, WrongSigner, ZeroAmount} from "./libs/Errors.sol";
import {Signatures} from "./libs/Signatures.sol";

/// @title Money in and out (spec 30 §5)
/// @notice The only two functions that call another contract, the token.
abstract contract Money is RegistryStorage, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Tokens came in.
    event Funded(address indexed account, uint128 amount);

    /// @notice Tokens went out.
    event Withdrawn(address indexed account, address indexed recipient, uint128 amount);

    bytes32 private constant PERMIT_TYPE =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// @notice Move tokens of the account that signed the permit into its registry balance.
    /// @dev Anyone can take a permit out of the mempool and use it at the token itself. So the account's word is read
    /// here, not inferred from the token's answer: a permit that was the last one used there still counts, once.
    /// @param account owner of the tokens and of the balance
    /// @param amount what the permit allows this registry, and what is moved; the smallest unit
    /// @param deadline of the permit, Unix seconds
    function fundWithPermit(address account, uint128 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        onOwnChain
        nonReentrant
    {
        // AUTHORITY
        uint256 next = IERC20Permit(_token).nonces(account);
        address signer = Signatures.recover(_permitDigest(account, amount, next, deadline), v, r, s);
        bool fresh = signer == account;
        bytes32 digest = _permitDigest(account, amount, fresh ? next : next - (next == 0 ? 0 : 1), deadline);
        require(fresh || Signatures.recover(digest, v, r, s) == account, WrongSigner(account, signer));
        // REPEAT
        if (_nonces[account][digest] != 0) return;
        // CHECKS
        _checkRunning();
        require(amount > 0, ZeroAmount());
        require(block.timestamp <= deadline, Expired(uint64(deadline), _now()));
        uint128 have = tokens(account);
        require(have >= amount, LowBalance(amount, have));
        // EFFECTS – EVENT
        _nonces[account][digest] = digest;
        uint256 before = IERC20(_token).balanceOf(address(this));
        if (fresh) IERC20Permit(_token).permit(account, address(this), amount, deadline, v, r, s);
        IERC20(_token).safeTransferFrom(account, address(this), amount);
        uint256 afterwards = IERC20(_token).balanceOf(address(this));
        // What really came counts, and all of it together has to fit a balance.
        require(afterwards <= type(uint128).max, OutOfRange(128, afterwards));
        uint128 received = uint128(afterwards - before);
        _credit(account, received);
        emit Funded(account, received);
    }

    /// @notice Move balance of the signer's account out to a recipient's tokens. Anyone may submit it.
    /// @param withdrawal what the account signed
    /// @param signature the account's, 65 bytes r ‖ s ‖ v
    function withdraw(Withdrawal calldata withdrawal, bytes calldata signature) external onOwnChain nonReentrant {
        // AUTHORITY
        bytes32 digest = _verifySigner(CaimiWire.hash(withdrawal), signature, withdrawal.account);
        _checkLane(withdrawal.target);
        // REPEAT
        if (_isRepeated(withdrawal.account, withdrawal.nonce, digest)) return;
        // CHECKS
        _checkRunning();
        require(withdrawal.amount > 0, ZeroAmount());
        require(_now() <= withdrawal.deadline, Expired(withdrawal.deadline, _now()));
        // EFFECTS
        _countWithdrawal(withdrawal.amount);
        _debit(withdrawal.account, withdrawal.amount);
        _nonces[withdrawal.account][withdrawal.nonce] = digest;
        // EVENT
        emit Withdrawn(withdrawal.account, withdrawal.recipient, withdrawal.amount);
        IERC20(_token).safeTransfer(withdrawal.recipient, withdrawal.amount);
    }

    /// @notice Tokens of an account outside the registry, in the smallest unit; at most 2^128 - 1 are shown.
    function tokens(address account) public view returns (uint128) {
        uint256 held = IERC20(_token).balanceOf(account);
        return held > type(uint128).max ? type(uint128).max : uint128(held);
    }

    function _countWithdrawal(uint128 amount) private {
        if (_withdrawalCap == 0) return;
        uint256 asked = uint256(_withdrawn[_epoch]) + amount;
        require(asked <= _withdrawalCap, CapReached(_withdrawalCap, asked));
        _withdrawn[_epoch] = uint128(asked);
    }

    function _permitDigest(address account, uint256 amount, uint256 nonce, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPE, account, address(this), amount, nonce, deadline));
        return CaimiWire.typedDigest(IERC20Permit(_token).DOMAIN_SEPARATOR(), structHash);
    }
}
