package contract

import (
	"math/big"

	"caimi.local/onchain/fabric/internal/wire"
)

func (r *registry) checkMoney(amount wire.Uint128, deadline uint64) error {
	if amount.IsZero() {
		return wire.ZeroAmount.With()
	}
	if r.now > deadline {
		return wire.Expired.With(deadline, r.now)
	}
	return nil
}

func (r *registry) addTokens(account wire.Address, amount wire.Uint128) {
	have := r.ledger.Tokens(account)
	r.ledger.PutTokens(account, new(big.Int).Add(have, amount.Big()))
}

// mint: the token issuer's word makes tokens.
func (r *registry) mint(m wire.Mint, signature []byte) error {
	issuer, digest := r.config.TokenIssuer, wire.TypedDigest(r.network, m)
	if repeated, err := r.authorise(digest, issuer, m.At, m.Nonce, signature); err != nil || repeated {
		return err
	}
	if err := r.checkMoney(m.Amount, m.Deadline); err != nil {
		return err
	}
	r.addTokens(m.Account, m.Amount)
	r.ledger.UseNonce(issuer, m.Nonce, digest)
	return nil
}

// fund moves tokens of the signer's account into its balance.
func (r *registry) fund(f wire.Funding, signature []byte) error {
	digest := wire.TypedDigest(r.network, f)
	if repeated, err := r.authorise(digest, f.Account, f.At, f.Nonce, signature); err != nil || repeated {
		return err
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if err := r.checkMoney(f.Amount, f.Deadline); err != nil {
		return err
	}
	have, want := r.ledger.Tokens(f.Account), f.Amount.Big()
	if have.Cmp(want) < 0 {
		return wire.LowBalance.With(want, have)
	}
	r.ledger.PutTokens(f.Account, new(big.Int).Sub(have, want))
	r.credit(f.Account, f.Amount)
	r.ledger.UseNonce(f.Account, f.Nonce, digest)
	return nil
}

// withdraw moves balance of the signer's account out to a recipient's tokens.
func (r *registry) withdraw(w wire.Withdrawal, signature []byte) error {
	digest := wire.TypedDigest(r.network, w)
	if repeated, err := r.authorise(digest, w.Account, w.At, w.Nonce, signature); err != nil || repeated {
		return err
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if err := r.checkMoney(w.Amount, w.Deadline); err != nil {
		return err
	}
	if err := r.countWithdrawal(w.Amount); err != nil {
		return err
	}
	if err := r.debit(w.Account, w.Amount); err != nil {
		return err
	}
	r.addTokens(w.Recipient, w.Amount)
	r.ledger.UseNonce(w.Account, w.Nonce, digest)
	return nil
}
