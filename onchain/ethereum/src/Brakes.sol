// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {OrderWire} from "./libs/OrderWire.sol";
import {Certificates} from "./libs/Certificates.sol";
import {Lane, Pause, Resume, Signature} from "./libs/Records.sol";
import {NotPaused, TooEarly, WrongCounter, WrongEpoch} from "./libs/Errors.sol";

/// @title Stopping what a registry begins, and letting it begin again (spec 35 §1)
/// @notice What has begun goes on: runs are applied, publications decided, requests answered.
abstract contract Brakes is RegistryStorage {
    /// @notice The registry was paused, or resumed.
    /// @param counter the order's
    event Braked(uint64 indexed counter, bool paused);

    /// @notice Pause; another one while it is paused begins the delay anew. Anyone may submit it.
    /// @param order what at least f+1 validators signed, so that one of them is honest
    /// @param signatures ascending by signer
    function pause(Pause calldata order, Signature[] calldata signatures) external onOwnChain {
        // AUTHORITY
        _verifySet(OrderWire.hash(order), order.epoch, order.target, signatures, uint256(_f) + 1);
        // REPEAT
        if (_paused && order.counter == _brakeCounter) return;
        // CHECKS
        _checkCounter(order.counter);
        // EFFECTS
        (_paused, _brakeCounter, _pausedAt) = (true, order.counter, _now());
        // EVENT
        emit Braked(order.counter, true);
    }

    /// @notice End a pause, not before its delay is over. Anyone may submit it.
    /// @param order what a quorum signed
    /// @param signatures ascending by signer
    function resume(Resume calldata order, Signature[] calldata signatures) external onOwnChain {
        // AUTHORITY
        _verifySet(OrderWire.hash(order), order.epoch, order.target, signatures, _quorum);
        // REPEAT
        if (!_paused && order.counter == _brakeCounter) return;
        // CHECKS
        _checkCounter(order.counter);
        require(_paused, NotPaused());
        uint64 earliest = _pausedAt + _resumeDelay;
        require(_now() >= earliest, TooEarly(earliest, _now()));
        // EFFECTS
        (_paused, _brakeCounter) = (false, order.counter);
        // EVENT
        emit Braked(order.counter, false);
    }

    /// @notice The brakes, and what the present epoch has used of its cap.
    /// @return paused whether nothing new begins
    /// @return counter of the last order; the next one has 1 more
    /// @return since time of the last pause
    /// @return resumeDelay seconds from a pause to the earliest resumption
    /// @return withdrawalCap of all withdrawals of an epoch together; 0 for none
    /// @return withdrawn in the present epoch, counted where there is a cap
    function brakes()
        external
        view
        returns (
            bool paused,
            uint64 counter,
            uint64 since,
            uint64 resumeDelay,
            uint128 withdrawalCap,
            uint128 withdrawn
        )
    {
        return (_paused, _brakeCounter, _pausedAt, _resumeDelay, _withdrawalCap, _withdrawn[_epoch]);
    }

    // At least `needed` validators of the present set signed an order for this registry.
    function _verifySet(
        bytes32 structHash,
        uint64 epoch,
        Lane calldata target,
        Signature[] calldata signatures,
        uint256 needed
    ) internal view {
        require(epoch == _epoch, WrongEpoch(_epoch, epoch));
        bytes32 digest = CaimiWire.typedDigest(_domain, structHash);
        Certificates.verifySigners(signatures, digest, _validators, needed);
        _checkLane(target);
    }

    function _checkCounter(uint64 counter) private view {
        uint64 next = _brakeCounter + 1;
        require(counter == next, WrongCounter(next, counter));
    }
}
