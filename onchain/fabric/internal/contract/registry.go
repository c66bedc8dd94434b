// Package contract is the registry of spec 30 on Fabric. Each entry point is read in one order:
// AUTHORITY - REPEAT - CHECKS - EFFECTS - EVENT.
package contract

import (
	"math/big"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

const rulesVersion uint16 = 1

// A registry is one call's view of the ledger. Entry points change `ledger` and `out` only, both in memory.
type registry struct {
	ledger    *state.Overlay
	out       *outbox
	config    state.Config
	network   wire.Bytes32
	lane      wire.Lane
	now       uint64
	transient map[string][]byte
}

func newRegistry(ledger *state.Overlay, config state.Config) *registry {
	return &registry{
		ledger: ledger, out: &outbox{}, config: config,
		network: wire.NetworkID(config.Genesis), lane: config.Lane(),
	}
}

// verifySigner: BadSignature, HighS, WrongSigner.
func verifySigner(digest wire.Bytes32, signature []byte, expected wire.Address) error {
	signer, err := certificate.Recover(digest, signature)
	if err != nil {
		return err
	}
	if signer != expected {
		return wire.WrongSigner.With(expected, signer)
	}
	return nil
}

// verifyHost: the host key is an operator's, the action is the host key's. It gives the operator.
func (r *registry) verifyHost(
	action any, signature []byte, key wire.HostKey, operatorSignature []byte,
) (wire.Address, error) {
	operator, err := certificate.Recover(wire.TypedDigest(r.network, key), operatorSignature)
	if err != nil {
		return operator, err
	}
	known := false
	for _, listed := range r.config.Genesis.Operators {
		known = known || listed == operator
	}
	if !known {
		return operator, wire.UnknownOperator.With(operator)
	}
	return operator, verifySigner(wire.TypedDigest(r.network, action), signature, key.SigningKey)
}

// verifySeat: a post is signed by the account in the seat that it names, from 1.
func (r *registry) verifySeat(post any, signature []byte, seats []wire.Address, index uint8) error {
	if index < 1 || int(index) > len(seats) {
		return wire.UnknownSigner.With(index)
	}
	return verifySigner(wire.TypedDigest(r.network, post), signature, seats[index-1])
}

func (r *registry) checkLane(at wire.Lane) error {
	if at != r.lane {
		return wire.WrongRegistry.With(at.Registry, r.lane.Registry)
	}
	return nil
}

// authorise tells whether this very action was done before, so that the call is a no-op.
func (r *registry) authorise(
	digest wire.Bytes32, account wire.Address, at wire.Lane, nonce wire.Bytes32, signature []byte,
) (repeated bool, err error) {
	if err := verifySigner(digest, signature, account); err != nil {
		return false, err
	}
	if err := r.checkLane(at); err != nil {
		return false, err
	}
	used, ok := r.ledger.NonceUse(account, nonce)
	if ok && used != digest {
		return false, wire.NonceUsed.With(nonce)
	}
	return ok, nil
}

func (r *registry) debit(account wire.Address, amount wire.Uint128) error {
	have, want := r.ledger.Balance(account), amount.Big()
	if have.Cmp(want) < 0 {
		return wire.LowBalance.With(want, have)
	}
	r.ledger.PutBalance(account, have.Sub(have, want))
	return nil
}

func (r *registry) credit(account wire.Address, amount wire.Uint128) {
	have := r.ledger.Balance(account)
	r.ledger.PutBalance(account, new(big.Int).Add(have, amount.Big()))
}
