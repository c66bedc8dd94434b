package contract

import (
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

func revocationOf(id wire.Bytes32, label string) wire.Revocation {
	return wire.Revocation{
		At: own, Publication: id, Publisher: publisher.address(), Reason: 7, Nonce: word(label), Deadline: deadline,
	}
}

func (w *world) revoke(id wire.Bytes32, label string) {
	w.t.Helper()
	v := revocationOf(id, label)
	w.call("revoke", v, publisher.sign(digestOf(v)))
}

func revokedBy(source wire.Lane, id wire.Bytes32) wire.Event {
	return eventTo(own, wire.KindRevoked, id, wire.RevokedBody{Reason: 7, At: source})
}

func (w *world) wantState(id wire.Bytes32, state uint8) {
	w.t.Helper()
	if record := w.publication(id); record.State != state {
		w.t.Errorf("state %d, want %d", record.State, state)
	}
}

// told1 carries one event and wants this note of it.
func (w *world) told1(source wire.Lane, event wire.Event, disposition uint8, code wire.Code) {
	w.t.Helper()
	notes := w.carry(source, w.next(), event)
	if len(notes) != 1 || notes[0].Disposition != disposition || notes[0].Code != code.Number {
		w.t.Errorf("notes %+v, want %d %s", notes, disposition, code.Name)
	}
}

func TestRevocationGivesTheDepositBackAndTellsTheMirrors(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	p.Mirrors = []wire.Lane{elsewhere, other}
	if elsewhere.Compare(other) > 0 {
		p.Mirrors = []wire.Lane{other, elsewhere}
	}
	id := w.lock(p)
	w.told1(other, lockedBy(id), applied, wire.Code{})
	w.told1(elsewhere, lockedBy(id), applied, wire.Code{})
	v := revocationOf(id, "v")
	news := told(t, w.call("revoke", v, publisher.sign(digestOf(v))))
	if len(news.Events) != 1 || news.Events[0].Kind != wire.KindRevoked || len(news.Events[0].Destinations) != 2 {
		t.Errorf("told %+v", news.Events)
	}
	w.wantState(id, stateRevoked)
	if w.balance(publisher) != 1000 {
		t.Errorf("balance %d", w.balance(publisher))
	}
	w.repeat("revoke", v, publisher.sign(digestOf(v)))
	again := revocationOf(id, "again")
	w.repeat("revoke", again, publisher.sign(digestOf(again)))
}

func TestRevocationOfALockedPublicationWaits(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	w.revoke(id, "v")
	w.wantState(id, stateLocked)
	if w.balance(publisher) != 900 {
		t.Errorf("balance %d", w.balance(publisher))
	}
	w.told1(other, lockedBy(id), applied, wire.Code{})
	w.wantState(id, stateRevoked)
	if w.balance(publisher) != 1000 {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

func TestRevokedAbortStaysAborted(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	w.revoke(id, "v")
	w.told1(other, refusedBy(id), applied, wire.Code{})
	w.wantState(id, stateAborted)
	v := revocationOf(id, "later")
	w.refuseCall("AlreadyDecided: 3", "revoke", v, publisher.sign(digestOf(v)))
}

func TestRevokedVersionStaysTheLatest(t *testing.T) {
	w := newWorld(t)
	high := homePublication()
	high.Version, high.Nonce = 3, word("high")
	highest := homePublication()
	highest.Version, highest.Nonce = 4, word("highest")
	low, h, top := w.lock(homePublication()), w.lock(high), w.lock(highest)
	w.told1(other, lockedBy(h), applied, wire.Code{})
	w.revoke(h, "v")
	w.told1(other, lockedBy(low), applied, wire.Code{})
	w.wantState(low, stateSuperseded)
	w.told1(other, lockedBy(top), applied, wire.Code{})
	w.wantState(h, stateRevoked)
	w.wantState(top, stateCommitted)
	if w.balance(publisher) != 900 {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

func TestToldRevocationTakesEffectOnceAndIsToldNoFurther(t *testing.T) {
	w := newWorld(t)
	id := w.lock(mirrorPublication())
	w.told1(other, revokedBy(other, id), pending, wire.Code{})
	w.told1(other, revokedBy(other, id), ignored, wire.Code{})
	w.told1(other, outcomeOf(id, stateCommitted), applied, wire.Code{})
	w.wantState(id, stateRevoked)
	w.told1(other, outcomeOf(id, stateCommitted), ignored, wire.Code{})
	w.told1(other, supersededBy(id, 2), ignored, wire.Code{})
	w.told1(other, outcomeOf(id, stateAborted), refused, wire.AlreadyDecided)
	v := revocationOf(id, "v")
	w.repeat("revoke", v, publisher.sign(digestOf(v)))
}

func TestRevocationToldBeforeTheLockWaits(t *testing.T) {
	w := newWorld(t)
	home, mirror := homePublication(), mirrorPublication()
	w.told1(other, revokedBy(other, digestOf(home)), pending, wire.Code{})
	w.told1(other, revokedBy(other, digestOf(mirror)), pending, wire.Code{})
	w.told1(other, outcomeOf(digestOf(mirror), stateCommitted), pending, wire.Code{})
	id := w.lock(home)
	w.wantState(id, stateLocked)
	w.told1(other, lockedBy(id), applied, wire.Code{})
	w.wantState(id, stateRevoked)
	w.wantState(w.lock(mirror), stateRevoked)
}

func TestRejectsRevocationOfOthers(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	send := func(want string, change func(*wire.Revocation), by key) {
		t.Helper()
		v := revocationOf(id, "v")
		change(&v)
		w.refuseCall(want, "revoke", v, by.sign(digestOf(v)))
	}
	same := func(*wire.Revocation) {}
	mine, theirs := publisher.address(), stranger.address()
	send("WrongSigner: "+mine.Hex()+", "+theirs.Hex(), same, stranger)
	send("WrongSigner: "+mine.Hex()+", "+theirs.Hex(), func(v *wire.Revocation) { v.Publisher = theirs }, stranger)
	send("WrongRegistry", func(v *wire.Revocation) { v.At = other }, publisher)
	send("Expired", func(v *wire.Revocation) { v.Deadline = start - 1 }, publisher)
	send("UnknownPublication", func(v *wire.Revocation) { v.Publication = word("none") }, publisher)
	send("NonceUsed", func(v *wire.Revocation) { v.Nonce = homePublication().Nonce }, publisher)
	w.told1(elsewhere, revokedBy(elsewhere, id), refused, wire.WrongAuthority)
	w.told1(other, revokedBy(elsewhere, id), refused, wire.WrongAuthority)
	w.told1(other, lockedBy(id), applied, wire.Code{})
	w.wantState(id, stateCommitted)
}
