package contract

import (
	"testing"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// Seven with f 2: the first and the last of the present set stay, in other seats.
var nextValidators = []key{"validator 3", "next 1", "next 2", "next 3", "next 4", "next 5", "validator 0"}

func nextSet(epoch uint64) wire.EpochSet {
	return wire.EpochSet{
		Epoch: epoch, Validators: addresses(nextValidators...), F: 2, T: 3, Transcript: word("transcript"),
	}
}

func signedByKeys(record any, keys []key) []wire.Signature {
	list := []wire.Signature{}
	for i, k := range keys {
		s := k.sign(digestOf(record))
		list = append(list, wire.Signature{Signer: uint8(i), V: s[64], R: wire.Bytes32(s[:32]), S: wire.Bytes32(s[32:64])})
	}
	return list
}

// handOver changes the set at this registry, which is the root and waits for nobody.
func (w *world) handOver(epoch uint64) {
	w.t.Helper()
	order := wire.SetChange{At: own, Epoch: 1, Next: nextSet(epoch)}
	w.call("changeSet", order, signedBy(order, 0, 1, 2), signedByKeys(order, nextValidators[:5]))
}

// epochs are what the views show: the present set, the one before, and what is announced.
func (w *world) epochs() (present, before state.EpochSigners, shown state.Epochs) {
	w.t.Helper()
	done := w.simulate("view", encoded("epochs"))
	payload := done.Response.GetPayload()
	err := wire.Decode(payload, wire.CallLimit,
		&before.Epoch, &present.SetHash, &present.Transcript, &shown.Announced, &shown.AnnouncedSet)
	if err != nil {
		w.t.Fatalf("epochs: %s, %v", done.Response.GetMessage(), err)
	}
	set := w.simulate("view", encoded("validatorSet")).Response.GetPayload()
	if err := wire.Decode(set, wire.CallLimit, &present.Epoch, &present.F, &present.T, &present.Validators); err != nil {
		w.t.Fatalf("validatorSet: %v", err)
	}
	for _, of := range []uint64{present.Epoch, before.Epoch, 77} {
		var s state.EpochSigners
		set := w.simulate("view", encoded("validatorSetOf", of)).Response.GetPayload()
		if err := wire.Decode(set, wire.CallLimit, &s.Epoch, &s.F, &s.T, &s.Validators); err != nil {
			w.t.Fatalf("validatorSetOf: %v", err)
		}
		if of == 77 || of == 0 {
			of = 0
		}
		if s.Epoch != of || (of == 0) != (len(s.Validators) == 0) {
			w.t.Errorf("validatorSetOf %d: %+v", of, s)
		}
	}
	return present, before, shown
}

func proposalOf(epoch uint64) wire.SetProposal {
	next := nextSet(epoch)
	next.Transcript = wire.Bytes32{}
	return wire.SetProposal{At: own, Epoch: 1, Next: next}
}

func (w *world) propose(epoch uint64) {
	w.t.Helper()
	p := proposalOf(epoch)
	w.call("proposeSet", p, signedBy(p, 0, 1, 3))
}

func nextPost(epoch uint64, index uint8, body []byte) wire.BoardPost {
	p := postOf(1, index, body)
	p.Epoch = epoch
	return p
}

func TestRecipientsPostOnceTheyAreProposed(t *testing.T) {
	w := newWorld(t)
	body := []byte("message")
	p := nextPost(2, 5, body)
	w.refuseCall("UnknownSigner: 5", "postBoard", p, nextValidators[1].sign(digestOf(p)), body)
	w.propose(2)
	order := proposalOf(2)
	w.repeat("proposeSet", order, signedBy(order, 0, 1, 3))
	w.repeat("proposeSet", order, signedBy(order))
	// Seats: the four of now, then the five recipients that are none of them.
	seats := append(append([]key{}, validators...), nextValidators[1:6]...)
	for i, k := range seats {
		p := nextPost(2, uint8(i+1), body)
		w.call("postBoard", p, k.sign(digestOf(p)), body)
	}
	var list [][]byte
	if w.view("board", &list, uint64(2), uint8(1)); len(list) != len(seats) || len(list[8]) == 0 {
		t.Errorf("board of %d", len(list))
	}
	now := postOf(1, 2, body)
	w.call("postBoard", now, validators[1].sign(digestOf(now)), body)
	beyond, wrong := nextPost(2, 10, body), nextPost(2, 5, body)
	w.refuseCall("UnknownSigner: 10", "postBoard", beyond, stranger.sign(digestOf(beyond)), body)
	w.refuseCall("WrongSigner", "postBoard", wrong, stranger.sign(digestOf(wrong)), body)
}

func TestAProposalReplacesTheLastOne(t *testing.T) {
	w := newWorld(t)
	body := []byte("message")
	w.propose(2)
	w.propose(4)
	old, later, present := nextPost(2, 1, body), nextPost(4, 1, body), postOf(1, 1, body)
	w.refuseCall("WrongEpoch: 1, 2", "postBoard", old, validators[0].sign(digestOf(old)), body)
	w.call("postBoard", later, validators[0].sign(digestOf(later)), body)
	w.handOver(4)
	seat := nextPost(4, 5, body)
	w.call("postBoard", seat, nextValidators[1].sign(digestOf(seat)), body)
	w.refuseCall("WrongSigner", "postBoard", present, validators[0].sign(digestOf(present)), body)
	past := postOf(1, 7, body)
	w.refuseCall("WrongEpoch: 4, 1", "postBoard", past, nextValidators[6].sign(digestOf(past)), body)
}

func TestRejectsProposal(t *testing.T) {
	w := newWorld(t)
	w.propose(3)
	for name, c := range map[string]struct {
		want   string
		change func(*wire.SetProposal)
	}{
		"another epoch":     {"WrongEpoch: 1, 2", func(p *wire.SetProposal) { p.Epoch = 2 }},
		"another registry":  {"WrongRegistry", func(p *wire.SetProposal) { p.At = other }},
		"too few for f":     {"BadQuorum: 7, 3, 4", func(p *wire.SetProposal) { p.Next.F, p.Next.T = 3, 4 }},
		"t below f + 1":     {"BadQuorum: 7, 2, 2", func(p *wire.SetProposal) { p.Next.T = 2 }},
		"one twice":         {"BadValidatorSet", func(p *wire.SetProposal) { p.Next.Validators[6] = p.Next.Validators[1] }},
		"nobody":            {"BadValidatorSet", func(p *wire.SetProposal) { p.Next.Validators[6] = wire.Address{} }},
		"the present epoch": {"BadSetChange", func(p *wire.SetProposal) { p.Next.Epoch = 1 }},
		"the last proposal": {"BadSetChange", func(p *wire.SetProposal) { p.Next.Epoch = 3 }},
		"a transcript":      {"BadSetChange", func(p *wire.SetProposal) { p.Next.Transcript = word("x") }},
	} {
		t.Run(name, func(t *testing.T) {
			p := proposalOf(5)
			c.change(&p)
			if p.Next.Epoch == 3 {
				p.Next.T = 4 // not the same again
			}
			w.refuseCall(c.want, "proposeSet", p, signedBy(p, 0, 1, 2))
		})
	}
	p := proposalOf(5)
	w.refuseCall("TooFewSignatures: 3, 2", "proposeSet", p, signedBy(p, 0, 1))
	w.refuseCall("WrongSigner", "proposeSet", p, signedByKeys(p, nextValidators[:3]))
	w.call("proposeSet", p, signedBy(p, 0, 1, 2))
}

func TestLeasesOfTwoEpochs(t *testing.T) {
	w := limitedWorld(t, state.Limits{LeaseCap: 1})
	old, sealed := w.openLease(), []byte("sealed partial")
	w.handOver(2)
	l, k := leaseRequest(), hostKey()
	l.Nonce = word("second")
	w.refuseCall("WrongEpoch: 2, 1", "openLease", leaseCall(l, k)...)
	l.Epoch, k.Epoch = 2, 3
	w.refuseCall("WrongEpoch: 2, 3", "openLease", leaseCall(l, k)...)
	k.Epoch = 1
	w.call("openLease", leaseCall(l, k)...) // counted anew
	present := digestOf(l)
	post := func(lease wire.Bytes32, index uint8, by key) (wire.PartialPost, []byte) {
		p := partialOf(lease, index, sealed)
		return p, by.sign(digestOf(p))
	}
	send := func(want string, lease wire.Bytes32, index uint8, by key) {
		t.Helper()
		w.transient = map[string][]byte{"partial": sealed}
		if p, signature := post(lease, index, by); want == "" {
			w.call("postPartial", p, signature)
		} else {
			w.refuseCall(want, "postPartial", p, signature)
		}
		w.transient = nil
	}
	send("", old, 2, validators[1])
	send("WrongSigner", old, 2, nextValidators[1])
	send("UnknownSigner: 5", old, 5, nextValidators[4])
	send("", present, 2, nextValidators[1])
	send("WrongSigner", present, 3, validators[2])
	send("", present, 7, nextValidators[6])
	for lease, count := range map[wire.Bytes32]int{old: 4, present: 7} {
		var list [][]byte
		if w.view("partials", &list, lease); len(list) != count || len(list[1]) == 0 {
			t.Errorf("partials of %d", len(list))
		}
	}
	w.call("retireSet")
	w.repeat("retireSet")
	send("WrongEpoch: 2, 1", old, 3, nextValidators[2])
	l.Nonce, l.Publication = word("third"), word("another")
	w.refuseCall("WrongEpoch: 2, 1", "openLease", leaseCall(l, k)...)
	k.Epoch = 2
	w.call("openLease", leaseCall(l, k)...)
}
