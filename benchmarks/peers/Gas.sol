// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Where peers deliver: one slot and one event for each publication
/// @notice The same for Hyperlane and CCIP, and no more than a registry has to keep to be asked by id.
contract Recipient {
    struct TokenAmount {
        address token;
        uint256 amount;
    }

    struct Any2EVMMessage {
        bytes32 messageId;
        uint64 sourceChainSelector;
        bytes sender;
        bytes data;
        TokenAmount[] tokens;
    }

    uint256 private constant COMMITTED = 2;

    error NotTheGateway();

    event Committed(bytes32 indexed id);

    address private immutable GATEWAY;

    mapping(bytes32 id => uint256) public state;

    constructor(address gateway) {
        GATEWAY = gateway;
    }

    /// @notice Hyperlane's way in.
    function handle(uint32, bytes32, bytes calldata body) external payable {
        _commit(bytes32(body));
    }

    /// @notice CCIP's way in.
    function ccipReceive(Any2EVMMessage calldata message) external {
        _commit(bytes32(message.data));
    }

    /// @notice ERC-165, and CCIP's receiver.
    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == 0x01ffc9a7 || id == 0x85572ffb;
    }

    function _commit(bytes32 id) private {
        require(msg.sender == GATEWAY, NotTheGateway());
        state[id] = COMMITTED;
        emit Committed(id);
    }
}

/// @title Many calls in one transaction, for peers that take one message in a call
contract Batcher {
    /// @notice Fails if one of them does.
    function run(address target, bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool ok, bytes memory answer) = target.call(calls[i]);
            if (!ok) {
                assembly {
                    revert(add(answer, 32), mload(answer))
                }
            }
        }
    }
}

/// @title A contract that needs to know whether a publication is committed
contract Reader {
    error NotCommitted();

    /// @notice Ask, and go on only if word number `word` of the answer is 2.
    function read(address target, bytes calldata question, uint256 word) external {
        (bool ok, bytes memory answer) = target.call(question);
        uint256 found;
        assembly {
            found := mload(add(add(answer, 32), mul(word, 32)))
        }
        require(ok && answer.length >= 32 * (word + 1) && found == 2, NotCommitted());
    }
}
