// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title One leg of a hash time-locked publication
/// @notice The peer of the benchmarks, not part of the product. It moves no deposit, which is in its favour.
contract Htlc {
    enum State {
        NONE,
        LOCKED,
        CLAIMED,
        REFUNDED
    }

    struct Lock {
        State state;
        uint64 expiry;
        address publisher;
        bytes32 hashlock;
    }

    error Known();
    error BadSignature();
    error NotLocked();
    error WrongPreimage();
    error Expired();
    error NotExpired();

    event Locked(bytes32 indexed id, bytes32 hashlock, uint64 expiry);
    event Claimed(bytes32 indexed id, bytes32 preimage);
    event Refunded(bytes32 indexed id);

    mapping(bytes32 id => Lock) public locks;

    /// @notice Lock what the publisher signed.
    /// @param publication begins with the publisher's address; its keccak256 is the id
    /// @param signature 65 bytes r ‖ s ‖ v of the publisher over the id
    /// @param hashlock sha256 of the secret
    /// @param expiry last second at which it may be claimed
    function lock(bytes calldata publication, bytes calldata signature, bytes32 hashlock, uint64 expiry) external {
        bytes32 id = keccak256(publication);
        address publisher = address(bytes20(publication[:20]));
        require(locks[id].state == State.NONE, Known());
        require(signature.length == 65, BadSignature());
        address signer = ecrecover(id, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        require(signer != address(0) && signer == publisher, BadSignature());
        locks[id] = Lock({state: State.LOCKED, expiry: expiry, publisher: publisher, hashlock: hashlock});
        emit Locked(id, hashlock, expiry);
    }

    /// @notice Settle it with the secret, which everybody sees then.
    function claim(bytes32 id, bytes32 preimage) external {
        Lock storage found = locks[id];
        require(found.state == State.LOCKED, NotLocked());
        require(sha256(abi.encodePacked(preimage)) == found.hashlock, WrongPreimage());
        require(block.timestamp <= found.expiry, Expired());
        found.state = State.CLAIMED;
        emit Claimed(id, preimage);
    }

    /// @notice Give it up after its time.
    function refund(bytes32 id) external {
        Lock storage found = locks[id];
        require(found.state == State.LOCKED, NotLocked());
        require(block.timestamp > found.expiry, NotExpired());
        found.state = State.REFUNDED;
        emit Refunded(id);
    }
}
