package contract

import (
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// limitedWorld has the limits given; the publisher has a balance of 1,000.
func limitedWorld(t *testing.T, limits state.Limits) *world {
	w := emptyWorld(t)
	made := config
	made.Limits = limits
	w.accept("init", wire.EncodeFields(made))
	w.fundAccount(publisher, 1000)
	return w
}

func signedBy(record any, signers ...int) []wire.Signature {
	list := []wire.Signature{}
	for _, i := range signers {
		s := validators[i].sign(digestOf(record))
		list = append(list, wire.Signature{Signer: uint8(i), V: s[64], R: wire.Bytes32(s[:32]), S: wire.Bytes32(s[32:64])})
	}
	return list
}

func (w *world) pause(counter uint64) {
	w.t.Helper()
	order := wire.Pause{At: own, Epoch: 1, Counter: counter}
	w.call("pause", order, signedBy(order, 1, 2))
}

func withdrawalOf(n uint64, label string) wire.Withdrawal {
	return wire.Withdrawal{
		At: own, Account: publisher.address(), Recipient: stranger.address(), Amount: amount(n),
		Nonce: word(label), Deadline: deadline,
	}
}

func TestPauseStopsWhatBegins(t *testing.T) {
	w := newWorld(t)
	l := leaseRequest()
	w.call("openLease", leaseCall(l, hostKey())...)
	w.pause(1)
	w.repeat("openLease", leaseCall(l, hostKey())...)
	l.Nonce = word("another")
	w.refuseCall("Paused", "openLease", leaseCall(l, hostKey())...)
	mint := wire.Mint{At: own, Account: stranger.address(), Amount: amount(5), Nonce: word("m"), Deadline: deadline}
	w.call("mint", mint, issuer.sign(digestOf(mint))) // the token's, not the registry's
	in := wire.Funding{At: own, Account: stranger.address(), Amount: amount(5), Nonce: word("f"), Deadline: deadline}
	w.refuseCall("Paused", "fund", in, stranger.sign(digestOf(in)))
	out := withdrawalOf(1, "w")
	w.refuseCall("Paused", "withdraw", out, publisher.sign(digestOf(out)))
	p := homePublication()
	w.refuseCall("Paused", "lockModel", p, publisher.sign(digestOf(p)))
}

func TestPauseLetsPartialsAndPostsGoOn(t *testing.T) {
	w := newWorld(t)
	lease := w.openLease()
	w.pause(1)
	sealed := []byte("sealed")
	w.transient = map[string][]byte{partialField: sealed}
	p := partialOf(lease, 2, sealed)
	w.call("postPartial", p, validators[1].sign(digestOf(p)))
	body := []byte("body")
	post := postOf(1, 1, body)
	w.call("postBoard", post, validators[0].sign(digestOf(post)), body)
}

func TestLeasesOfAnOperatorAreCappedByPublication(t *testing.T) {
	w := limitedWorld(t, state.Limits{LeaseCap: 2})
	open := func(label, publication string) []any {
		l := leaseRequest()
		l.Nonce, l.Publication = word(label), word(publication)
		return leaseCall(l, hostKey())
	}
	for _, label := range []string{"first", "second", "second"} {
		w.call("openLease", open(label, "publication")...)
	}
	w.refuseCall("CapReached: 2, 3", "openLease", open("third", "publication")...)
	w.call("openLease", open("third", "another")...)
	var limit uint64
	if w.view("leaseCap", &limit); limit != 2 {
		t.Errorf("leaseCap %d", limit)
	}
}

// Where there is a cap, one withdrawal of a block is VALID and the others are sent again; without one they share no key.
func TestWithdrawalsShareAKeyOnlyUnderACap(t *testing.T) {
	for limit, wanted := range map[uint64]int{0: 2, 10_000: 1} {
		w := limitedWorld(t, state.Limits{WithdrawalCap: amount(limit)})
		other := key("other publisher")
		w.fundAccount(other, 100)
		var block []*ledgertest.Transaction
		for _, k := range []key{publisher, other} {
			out := withdrawalOf(10, "w "+string(k))
			out.Account, out.Recipient = k.address(), k.address()
			block = append(block, w.simulate("call", encoded("withdraw", out, k.sign(digestOf(out)))))
		}
		valid := 0
		for _, ok := range w.ledger.Commit(block...) {
			if ok {
				valid++
			}
		}
		if valid != wanted {
			t.Errorf("cap %d: %d of 2 VALID, want %d", limit, valid, wanted)
		}
	}
}

// Locks read whether the registry is paused, so that none of the pause's own block gets through; they do not hinder each other.
func TestPauseCountsForItsOwnBlock(t *testing.T) {
	w := newWorld(t)
	order := wire.Pause{At: own, Epoch: 1, Counter: 1}
	p := homePublication()
	pause := w.simulate("call", encoded("pause", order, signedBy(order, 0, 3)))
	lock := w.simulate("call", encoded("lockModel", p, publisher.sign(digestOf(p))))
	if valid := w.ledger.Commit(pause, lock); !valid[0] || valid[1] {
		t.Errorf("VALID: %v, want the pause only", valid)
	}
}

func TestRejectsLimitsOutOfRange(t *testing.T) {
	made := config
	made.Limits.ResumeDelay = 1 << 32
	w := emptyWorld(t)
	w.refuse(fmt.Sprintf("OutOfRange: 32, %d", uint64(1)<<32), "init", wire.EncodeFields(made))
}

func TestGovernanceStopsRunsOfItsOwnBlock(t *testing.T) {
	w := newWorld(t)
	id := w.lock(mirrorPublication())
	order := wire.Governance{
		At: own, Epoch: 1, Action: actionDropLane, Lane: other, Version: 1, Generation: 1,
	}
	run := runOf(other, 1, outcomeOf(id, stateCommitted))
	govern := w.simulate("call", encoded("govern", order, signedBy(order, 0, 1, 3)))
	carry := w.simulate("call", encoded("applyRun", run.certificate, run.items, run.proof))
	if valid := w.ledger.Commit(govern, carry); !valid[0] || valid[1] {
		t.Errorf("VALID: %v, want the decision only", valid)
	}
	w.refuseCall("LaneDropped", "applyRun", run.certificate, run.items, run.proof)
	w.wantState(id, stateLocked)
}

func TestRootIsThisRegistryUnlessNamed(t *testing.T) {
	w := newWorld(t)
	var root wire.Lane
	if w.view("root", &root); root != own {
		t.Errorf("root %+v", root)
	}
	made := config
	made.Root = other
	w = emptyWorld(t)
	w.accept("init", wire.EncodeFields(made))
	if w.view("root", &root); root != other {
		t.Errorf("root %+v", root)
	}
}
