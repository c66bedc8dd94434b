// Package wire is the only place of the chaincode where protocol bytes are laid out, read and hashed (spec 10).
package wire

import (
	"bytes"
	"encoding/hex"
	"math/big"
)

// Bytes32 is a hash, id, nonce, label or salt.
type Bytes32 [32]byte

// Address is a 20-byte account.
type Address [20]byte

// Uint128 is an unsigned number of 16 big-endian bytes.
type Uint128 [16]byte

// Hex gives 0x and the lower-case digits.
func (b Bytes32) Hex() string { return "0x" + hex.EncodeToString(b[:]) }

// IsZero tells whether every byte is zero.
func (b Bytes32) IsZero() bool { return b == Bytes32{} }

// Hex gives 0x and the lower-case digits.
func (a Address) Hex() string { return "0x" + hex.EncodeToString(a[:]) }

// IsZero tells whether every byte is zero.
func (a Address) IsZero() bool { return a == Address{} }

// Big gives the number.
func (u Uint128) Big() *big.Int { return new(big.Int).SetBytes(u[:]) }

// IsZero tells whether the number is zero.
func (u Uint128) IsZero() bool { return u == Uint128{} }

// Less compares two numbers.
func (u Uint128) Less(v Uint128) bool { return bytes.Compare(u[:], v[:]) < 0 }

// ToUint128 refuses a number that does not fit (OutOfRange).
func ToUint128(n *big.Int) (Uint128, error) {
	var u Uint128
	if n.Sign() < 0 || n.BitLen() > 128 {
		return u, OutOfRange.With(128, n)
	}
	n.FillBytes(u[:])
	return u, nil
}
