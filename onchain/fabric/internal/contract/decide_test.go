package contract

import (
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

func TestCommitAndAbortExcludeEachOther(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	w.refuseCall("DeadlineNotPassed: 1800000600, 1800000000", "abort", id)
	w.carry(other, 1, lockedBy(id))
	w.now = deadline + 1
	w.refuseCall("NotLocked: 2", "abort", id)
	notes := w.carry(other, 2, refusedBy(id))
	if notes[0].Disposition != ignored || w.publication(id).State != stateCommitted || w.balance(publisher) != 900 {
		t.Errorf("%+v %+v", notes, w.publication(id))
	}
}

func TestAbortGivesTheDepositBackOnce(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	w.now = deadline + 1
	if notes := w.carry(other, 1, lockedBy(id)); notes[0].Code != wire.PastDeadline.Number {
		t.Errorf("%+v", notes)
	}
	w.call("abort", id)
	w.repeat("abort", id)
	notes := w.carry(other, 2, lockedBy(id))
	if notes[0].Code != wire.AlreadyDecided.Number || w.balance(publisher) != 1000 {
		t.Errorf("%+v, balance %d", notes, w.balance(publisher))
	}
}

func TestMirrorFollowsHomeOnly(t *testing.T) {
	w := newWorld(t)
	id := w.lock(mirrorPublication())
	if notes := w.carry(elsewhere, 1, outcomeOf(id, stateAborted)); notes[0].Code != wire.WrongAuthority.Number {
		t.Errorf("%+v", notes)
	}
	w.refuseCall("NotHome", "abort", id)
	w.now = deadline + 100_000 // mirrors look at no clock
	w.carry(other, 1, outcomeOf(id, stateCommitted))
	if s := w.publication(id).State; s != stateCommitted {
		t.Errorf("state %d", s)
	}
	if notes := w.carry(other, 2, outcomeOf(id, stateAborted)); notes[0].Code != wire.AlreadyDecided.Number {
		t.Errorf("%+v", notes)
	}
}

func TestLateLockMeetsEarlyOutcome(t *testing.T) {
	for early, want := range map[uint8]uint8{stateCommitted: stateCommitted, stateAborted: stateAborted} {
		w := newWorld(t)
		p := mirrorPublication()
		if notes := w.carry(other, 1, outcomeOf(digestOf(p), early)); notes[0].Disposition != pending {
			t.Errorf("%+v", notes)
		}
		if id := w.lock(p); w.publication(id).State != want {
			t.Errorf("state %d, want %d", w.publication(id).State, want)
		}
	}
}

func TestEarlyOutcomeOfAnotherIsNotHomes(t *testing.T) {
	w := newWorld(t)
	p := mirrorPublication()
	w.carry(elsewhere, 1, outcomeOf(digestOf(p), stateAborted))
	if id := w.lock(p); w.publication(id).State != stateLocked {
		t.Errorf("state %d", w.publication(id).State)
	}
}

func TestEachEventOnce(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	run := runOf(other, 1, lockedBy(id))
	w.call("applyRun", run.certificate, run.items, run.proof)
	w.repeat("applyRun", run.certificate, run.items, run.proof)
	var marked uint8
	if w.view("isMarked", &marked, other, uint64(1), uint64(1)); marked != 1 {
		t.Error("not marked")
	}
	for _, not := range [][]any{{other, uint64(1), uint64(2)}, {other, uint64(2), uint64(1)}, {elsewhere, uint64(1), uint64(1)}} {
		if w.view("isMarked", &marked, not...); marked != 0 {
			t.Errorf("marked %v", not)
		}
	}
}

func TestRejectsRunOfAnotherNetwork(t *testing.T) {
	w := newWorld(t)
	run := runOf(other, 1, lockedBy(word("id")))
	run.certificate.Checkpoint.Height++
	w.refuseCall("WrongSigner", "applyRun", run.certificate, run.items, run.proof)
}

func TestHigherVersionSupersedes(t *testing.T) {
	w := newWorld(t)
	var ids []wire.Bytes32
	for i, version := range []uint64{2, 5, 3} {
		p := homePublication()
		p.Version, p.Nonce = version, word(string(rune('a'+i)))
		id := w.lock(p)
		ids = append(ids, id)
		w.carry(other, uint64(i+1), lockedBy(id))
	}
	for i, want := range []uint8{stateSuperseded, stateCommitted, stateSuperseded} {
		if s := w.publication(ids[i]).State; s != want {
			t.Errorf("%d: state %d, want %d", i, s, want)
		}
	}
	if w.balance(publisher) != 900 {
		t.Errorf("balance %d", w.balance(publisher))
	}
	p := mirrorPublication()
	id := w.lock(p)
	w.carry(other, 4, supersededBy(id, 9), outcomeOf(id, stateCommitted))
	if s := w.publication(id).State; s != stateSuperseded {
		t.Errorf("mirror: state %d", s)
	}
}

func TestMalformedBodiesAreRefusedAndStopNothing(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	var events []wire.Event
	for _, kind := range []uint16{wire.KindLocked, wire.KindRefused, wire.KindOutcome, wire.KindSuperseded, wire.KindAnswered} {
		event := lockedBy(id)
		event.Kind, event.Body = kind, []byte{1}
		events = append(events, event)
	}
	unknown := lockedBy(id)
	unknown.Kind, unknown.Body = 99, nil
	later := lockedBy(id)
	later.Schema = 2
	notes := w.carry(other, 1, append(events, unknown, later, lockedBy(id))...)
	for i, note := range notes {
		want := [2]uint16{uint16(refused), wire.BadBody.Number}
		switch i {
		case 5, 6:
			want = [2]uint16{uint16(ignored), 0}
		case 7:
			want = [2]uint16{uint16(applied), 0}
		}
		if got := [2]uint16{uint16(note.Disposition), note.Code}; got != want {
			t.Errorf("event %d: %v, want %v", i, got, want)
		}
	}
	if w.publication(id).State != stateCommitted {
		t.Error("the last event is not applied")
	}
}

func TestReceiptsComeFromMirrors(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	answered := func(subject wire.Bytes32, receipt string) wire.Event {
		body := wire.AnsweredBody{Request: word("request"), ReceiptHash: word(receipt)}
		return eventTo(own, wire.KindAnswered, subject, body)
	}
	unanswered := func(subject wire.Bytes32) wire.Event {
		return eventTo(own, wire.KindAnswered, subject, wire.AnsweredBody{Request: word("request")})
	}
	mirrored := w.lock(mirrorPublication())
	for _, c := range []struct {
		source  wire.Lane
		event   wire.Event
		want    uint8
		because uint16
	}{
		{other, answered(word("nothing"), "a"), refused, wire.UnknownPublication.Number},
		{elsewhere, answered(id, "a"), refused, wire.WrongAuthority.Number},
		{other, answered(mirrored, "a"), refused, wire.WrongAuthority.Number},
		{other, unanswered(id), refused, wire.BadBody.Number},
		{other, unanswered(word("nothing")), refused, wire.BadBody.Number},
		{other, answered(id, "b"), applied, 0},
		{other, answered(id, "c"), ignored, 0},
	} {
		notes := w.carry(c.source, w.next(), c.event)
		if notes[0].Disposition != c.want || notes[0].Code != c.because {
			t.Errorf("%+v, want %d %d", notes[0], c.want, c.because)
		}
	}
	var receipt wire.Bytes32
	if w.view("receiptOf", &receipt, word("request")); receipt != word("b") {
		t.Errorf("receipt %s", receipt.Hex())
	}
}

func TestAbortOfWhatHomeNeverLocked(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	id := digestOf(p)
	w.refuseCall("DeadlineNotPassed", "abortUnlocked", p, publisher.sign(id))
	w.refuseCall("WrongSigner", "abortUnlocked", p, stranger.sign(id))
	w.now = deadline + 1
	unlawful := p
	unlawful.Name = "No"
	w.refuseCall("BadName", "abortUnlocked", unlawful, publisher.sign(digestOf(unlawful)))
	away := mirrorPublication()
	w.refuseCall("NotHome", "abortUnlocked", away, publisher.sign(digestOf(away)))
	w.call("abortUnlocked", p, publisher.sign(id))
	w.repeat("abortUnlocked", p, publisher.sign(id))
	w.repeat("abort", id)
	w.repeat("lockModel", p, publisher.sign(id))
	if r := w.publication(id); r.State != stateAborted || r.Reason != reasonNeverLocked || w.balance(publisher) != 1000 {
		t.Errorf("%+v", r)
	}
	// Neither its name nor its nonce is used.
	p.Deadline = deadline + 1000
	w.lock(p)
}
