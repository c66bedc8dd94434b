package contract

import (
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

func mintOf(n uint64) wire.Mint {
	return wire.Mint{At: own, Account: stranger.address(), Amount: amount(n), Nonce: word("m"), Deadline: deadline}
}

func TestMintOnceByTheIssuer(t *testing.T) {
	w := newWorld(t)
	m := mintOf(5)
	w.call("mint", m, issuer.sign(digestOf(m)))
	w.repeat("mint", m, issuer.sign(digestOf(m)))
	if n := w.tokens(stranger); n != 5 {
		t.Errorf("%d tokens", n)
	}
}

func TestRejectsMint(t *testing.T) {
	w := newWorld(t)
	used := mintOf(5)
	w.call("mint", used, issuer.sign(digestOf(used)))
	for name, c := range map[string]struct {
		want   string
		by     key
		change func(*wire.Mint)
	}{
		"signed by the account": {"WrongSigner", stranger, func(m *wire.Mint) { m.Nonce = word("n") }},
		"for another registry":  {"WrongRegistry", issuer, func(m *wire.Mint) { m.Nonce, m.At = word("n"), other }},
		"nonce of another mint": {"NonceUsed", issuer, func(m *wire.Mint) { m.Amount = amount(6) }},
		"nothing":               {"ZeroAmount", issuer, func(m *wire.Mint) { m.Nonce, m.Amount = word("n"), amount(0) }},
		"too late":              {"Expired", issuer, func(m *wire.Mint) { m.Nonce, m.Deadline = word("n"), start-1 }},
	} {
		t.Run(name, func(t *testing.T) {
			m := mintOf(5)
			c.change(&m)
			w.refuseCall(c.want, "mint", m, c.by.sign(digestOf(m)))
		})
	}
}

func TestFundAndWithdraw(t *testing.T) {
	w := newWorld(t)
	out := wire.Withdrawal{
		At: own, Account: publisher.address(), Recipient: stranger.address(), Amount: amount(300),
		Nonce: word("w"), Deadline: deadline,
	}
	w.call("withdraw", out, publisher.sign(digestOf(out)))
	w.repeat("withdraw", out, publisher.sign(digestOf(out)))
	if w.balance(publisher) != 700 || w.tokens(stranger) != 300 {
		t.Errorf("%d %d", w.balance(publisher), w.tokens(stranger))
	}
	out.Nonce, out.Amount = word("w2"), amount(701)
	w.refuseCall("LowBalance: 701, 700", "withdraw", out, publisher.sign(digestOf(out)))
	in := wire.Funding{At: own, Account: stranger.address(), Amount: amount(301), Nonce: word("f"), Deadline: deadline}
	w.refuseCall("LowBalance: 301, 300", "fund", in, stranger.sign(digestOf(in)))
	w.refuseCall("WrongSigner", "fund", in, publisher.sign(digestOf(in)))
	in.Amount = amount(300)
	w.call("fund", in, stranger.sign(digestOf(in)))
	if w.balance(stranger) != 300 || w.tokens(stranger) != 0 {
		t.Errorf("%d %d", w.balance(stranger), w.tokens(stranger))
	}
}

// More than 128 bits of one token never overflow into somebody's loss; the view says that it cannot show the sum.
func TestSumsBeyond128Bits(t *testing.T) {
	w := newWorld(t)
	huge := mintOf(0)
	for i := range huge.Amount {
		huge.Amount[i] = 0xff
	}
	for _, nonce := range []string{"one", "two"} {
		huge.Nonce = word(nonce)
		w.call("mint", huge, issuer.sign(digestOf(huge)))
	}
	w.refuse("OutOfRange", "view", encoded("tokens", stranger.address()))
	in := wire.Funding{At: own, Account: stranger.address(), Amount: huge.Amount, Nonce: word("f"), Deadline: deadline}
	w.call("fund", in, stranger.sign(digestOf(in)))
	var left wire.Uint128
	if w.view("tokens", &left, stranger.address()); left != huge.Amount {
		t.Errorf("left %s", left.Big())
	}
}
