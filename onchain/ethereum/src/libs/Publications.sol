// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./CaimiWire.sol";
import {Cid, Lane, Publication, Terms} from "./Records.sol";
import {
    BadCid,
    BadMirrors,
    BadName,
    BadVersion,
    Refusals,
    UnsupportedExtension,
    UnsupportedFormat,
    UnsupportedKind,
    UnsupportedPolicy,
    UnsupportedTerms
} from "./Errors.sol";

/// @title Permanent reasons: what is wrong with a publication by its signed bytes alone (spec 30 §4)
library Publications {
    uint256 private constant MAX_MIRRORS = 7;

    /// @notice Code of the first permanent reason that holds, 0 if none does.
    function permanentReason(Publication calldata p) internal pure returns (uint16) {
        if (p.format != 1) return Refusals.UNSUPPORTED_FORMAT;
        if (p.kind != 1 && p.kind != 2) return Refusals.UNSUPPORTED_KIND;
        if (!isName(bytes(p.name))) return Refusals.BAD_NAME;
        if (p.version < 1) return Refusals.BAD_VERSION;
        if (!isCid(p.ciphertext)) return Refusals.BAD_CID;
        if (p.policyHash != CaimiWire.POLICY_OPEN) return Refusals.UNSUPPORTED_POLICY;
        if (!_isFree(p.terms)) return Refusals.UNSUPPORTED_TERMS;
        if (p.extensionHash != 0) return Refusals.UNSUPPORTED_EXTENSION;
        if (!_areMirrors(p.mirrors, p.home)) return Refusals.BAD_MIRRORS;
        return 0;
    }

    /// @notice Revert with the first permanent reason that holds.
    function check(Publication calldata p) internal pure {
        uint16 code = permanentReason(p);
        if (code == 0) return;
        if (code == Refusals.UNSUPPORTED_FORMAT) revert UnsupportedFormat(p.format);
        if (code == Refusals.UNSUPPORTED_KIND) revert UnsupportedKind(p.kind);
        if (code == Refusals.BAD_NAME) revert BadName();
        if (code == Refusals.BAD_VERSION) revert BadVersion();
        if (code == Refusals.BAD_CID) revert BadCid(p.ciphertext.codec);
        if (code == Refusals.UNSUPPORTED_POLICY) revert UnsupportedPolicy(p.policyHash);
        if (code == Refusals.UNSUPPORTED_TERMS) revert UnsupportedTerms();
        if (code == Refusals.UNSUPPORTED_EXTENSION) revert UnsupportedExtension(p.extensionHash);
        revert BadMirrors();
    }

    /// @notice Refuse a CID that is not raw or dag-pb, or whose digest is zero.
    function checkCid(Cid calldata cid) internal pure {
        require(isCid(cid), BadCid(cid.codec));
    }

    /// @notice Whether a CID is raw or dag-pb and its digest is not zero.
    function isCid(Cid calldata cid) internal pure returns (bool) {
        return (cid.codec == 0x55 || cid.codec == 0x70) && cid.digest != 0;
    }

    /// @notice Whether `name` is 1 to 64 of a-z 0-9 . _ - and begins and ends with a letter or digit.
    function isName(bytes calldata name) internal pure returns (bool) {
        uint256 length = name.length;
        if (length < 1 || length > 64) return false;
        for (uint256 i = 0; i < length; i++) {
            bytes1 c = name[i];
            bool inner = c == "." || c == "_" || c == "-";
            if (!_isLetterOrDigit(c) && (!inner || i == 0 || i == length - 1)) return false;
        }
        return true;
    }

    function _isLetterOrDigit(bytes1 c) private pure returns (bool) {
        return (c >= "a" && c <= "z") || (c >= "0" && c <= "9");
    }

    function _isFree(Terms calldata terms) private pure returns (bool) {
        return terms.currency == 0 && terms.unit == 0 && terms.price == 0;
    }

    // 1 to 7, strictly ascending by (chain, registry), without the home.
    function _areMirrors(Lane[] calldata mirrors, Lane calldata home) private pure returns (bool) {
        if (mirrors.length < 1 || mirrors.length > MAX_MIRRORS) return false;
        for (uint256 i = 0; i < mirrors.length; i++) {
            Lane calldata one = mirrors[i];
            if (one.chain == home.chain && one.registry == home.registry) return false;
            if (i == 0) continue;
            Lane calldata before = mirrors[i - 1];
            if (before.chain > one.chain || (before.chain == one.chain && before.registry >= one.registry)) {
                return false;
            }
        }
        return true;
    }
}
