package contract

import (
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/wire"
)

func TestOneAnswerCommitsABatch(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 3)
	done := w.accept("call", b.lockCall())
	root := b.root()
	if got := wire.Bytes32(done.Response.GetPayload()); got != root {
		t.Errorf("answered %s", got.Hex())
	}
	news := told(t, done)
	if len(news.Events) != 1 || news.Events[0].Kind != wire.KindBatchLocked || news.Events[0].Subject != root.Hex() {
		t.Errorf("told %+v", news.Events)
	}
	if len(news.Batches) != 1 || news.Batches[0].Root != root.Hex() || len(news.Batches[0].IDs) != 3 || news.Batches[0].IDs[2] != b.ids[2].Hex() {
		t.Errorf("logged %+v", news.Batches)
	}
	w.wantBatch(own, root, stateLocked, 300)
	repeated := w.accept("call", b.lockCall())
	requireNoWrites(t, repeated)
	if got := wire.Bytes32(repeated.Response.GetPayload()); got != root {
		t.Errorf("a repetition answered %s", got.Hex())
	}
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	w.told1(other, answeredOf(root, rulesVersion), ignored, wire.Code{})
	w.wantBatch(own, root, stateCommitted, 300)
	w.takeOut(b, 2)
	w.repeatCall(b.takeOutCall(2))
	w.wantState(b.ids[2], stateCommitted)
	w.wantState(b.ids[0], stateNone)
	w.wantBatch(own, root, stateCommitted, 200)
	if w.balance(publisher) != 700 || w.publication(b.ids[2]).Deposit != amount(100) {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

func TestBatchIsLockedWholeOrNotAtAll(t *testing.T) {
	for name, c := range map[string]struct {
		want string
		with func(w *world, b *gathered)
	}{
		"nobody signed it":      {"BatchItem: 1, 202", func(_ *world, b *gathered) { b.signatures[1] = stranger.sign(b.ids[1]) }},
		"a short signature":     {"BatchItem: 2, 200", func(_ *world, b *gathered) { b.signatures[2] = b.signatures[2][:64] }},
		"two bad signatures":    {"BatchItem: 1, 200", func(_ *world, b *gathered) { b.signatures[1], b.signatures[2] = nil, nil }},
		"of another home":       {"BatchItem: 1, 426", changed(1, func(p *wire.Publication) { p.Home = elsewhere })},
		"of other mirrors":      {"BatchItem: 2, 407", changed(2, func(p *wire.Publication) { p.Mirrors = []wire.Lane{elsewhere} })},
		"of more mirrors":       {"BatchItem: 2, 407", changed(2, func(p *wire.Publication) { p.Mirrors = append([]wire.Lane{other}, elsewhere) })},
		"without mirrors":       {"BatchItem: 0, 407", changedAll(func(p *wire.Publication) { p.Mirrors = []wire.Lane{} })},
		"an unlawful name":      {"BatchItem: 1, 402", changed(1, func(p *wire.Publication) { p.Name = "\xff" })},
		"the first unlawful":    {"BatchItem: 0, 403", changed(0, func(p *wire.Publication) { p.Version = 0 })},
		"two different reasons": {"BatchItem: 0, 422", changedAll(func(p *wire.Publication) { p.Deposit = amount(99) })},
		"past its deadline":     {"BatchItem: 2, 420", changed(2, func(p *wire.Publication) { p.Deadline = start - 1 })},
		"near its deadline":     {"BatchItem: 2, 421", changed(2, func(p *wire.Publication) { p.Deadline = start + 2*window - 1 })},
		"one nonce twice":       {"BatchItem: 2, 204", changed(2, func(p *wire.Publication) { p.Nonce = word("batch 0") })},
		"one name twice":        {"BatchItem: 2, 424", changed(2, func(p *wire.Publication) { p.Name = "0" })},
		"more than there is":    {"BatchItem: 2, 423", changed(2, func(p *wire.Publication) { p.Deposit = amount(801) })},
		"the same one twice": {"BatchItem: 2, 803", func(_ *world, b *gathered) {
			b.publications[2], b.signatures[2], b.ids[2] = b.publications[0], b.signatures[0], b.ids[0]
		}},
		"one that is locked alone": {"BatchItem: 1, 803", func(w *world, b *gathered) { w.lock(b.publications[1]) }},
		"one of another batch": {"BatchItem: 1, 803", func(w *world, b *gathered) {
			w.lockBatch(gathered{b.publications[1:2], b.signatures[1:2], b.ids[1:2]})
		}},
		"one that was aborted unlocked": {"BatchItem: 1, 803", func(w *world, b *gathered) {
			w.now = deadline + 1
			w.call("abortUnlocked", b.publications[1], b.signatures[1])
			w.now = start
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := gather(homePublication, 3)
			c.with(w, &b)
			before := w.balance(publisher)
			w.refuseBatch(c.want, b)
			if w.balance(publisher) != before {
				t.Errorf("balance %d, was %d", w.balance(publisher), before)
			}
		})
	}
}

// Processors share the work in any order; what they find is the first culprit.
func TestTheFirstCulpritIsNamedWhoeverFindsOne(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 64)
	b.signatures[5] = stranger.sign(b.ids[5])
	for _, later := range []int{6, 7, 20, 63} {
		b.signatures[later] = nil
	}
	call := b.lockCall()
	for range 50 {
		w.refuse("BatchItem: 5, 202", "call", call)
	}
}

func changed(index int, change func(*wire.Publication)) func(*world, *gathered) {
	return func(_ *world, b *gathered) {
		change(&b.publications[index])
		b.sign()
	}
}

func changedAll(change func(*wire.Publication)) func(*world, *gathered) {
	return func(_ *world, b *gathered) {
		for i := range b.publications {
			change(&b.publications[i])
		}
		b.sign()
	}
}

func TestLimitsOfABatchComeBeforeAnyWork(t *testing.T) {
	w := newWorld(t)
	unsigned := func(count, signatures int) []byte {
		publications := make([]wire.Publication, count)
		for i := range publications {
			publications[i].Mirrors = []wire.Lane{}
		}
		return encoded("lockBatch", publications, make([][]byte, signatures))
	}
	w.refuse("EmptyBatch", "call", unsigned(0, 0))
	w.refuse("EmptyBatch", "call", unsigned(0, 1))
	w.refuse("BatchTooLong: 256, 257", "call", unsigned(257, 257))
	w.refuse("BatchTooLong: 256, 257", "call", unsigned(257, 0))
	w.refuse("BadEncoding", "call", unsigned(2, 1))
	w.refuse("BadEncoding", "call", unsigned(2, 3))
	w.refuse("BatchItem: 0, 200", "call", unsigned(256, 256))
}

// What was refused as an item locks with the others once it is left out.
func TestABatchWithoutItsCulprit(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 4)
	changed(1, func(p *wire.Publication) { p.Format = 9 })(w, &b)
	w.refuseBatch("BatchItem: 1, 400", b)
	rest := gathered{}
	for _, i := range []int{0, 2, 3} {
		rest.add(b.publications[i], publisher)
	}
	w.wantBatch(own, w.lockBatch(rest), stateLocked, 300)
}

func TestMirrorsOfABatchAnswer(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 2)
	root := b.root()
	w.told1(other, answeredOf(root, 2), pending, wire.Code{})
	w.told1(other, answeredOf(root, rulesVersion), pending, wire.Code{})
	w.told1(other, eventTo(own, wire.KindBatchAnswered, root, wire.BatchAnsweredBody{Version: 1, Home: other}), refused, wire.WrongAuthority)
	w.told1(other, eventTo(own, wire.KindBatchAnswered, root, wire.BatchLockedBody{Count: 1}), refused, wire.BadBody)
	w.told1(other, eventTo(own, wire.KindBatchLocked, root, wire.BatchLockedBody{Count: 1}), ignored, wire.Code{})
	w.lockBatch(b) // the first answer stays: its rules are others
	w.wantBatch(own, root, stateAborted, 200)
	w.repeat("abortBatch", root)
	w.told1(elsewhere, answeredOf(root, rulesVersion), refused, wire.WrongAuthority)
	w.takeOut(b, 0)
	w.wantState(b.ids[0], stateAborted)
	w.wantBatch(own, root, stateAborted, 100)
	if r := w.publication(b.ids[0]); r.Reason != reasonMirrorRefused || w.balance(publisher) != 900 {
		t.Errorf("%+v, balance %d", r, w.balance(publisher))
	}
}

func TestABatchCommitsByItsEarliestDeadlineAndAbortsAfterItsLatest(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 3)
	changed(0, func(p *wire.Publication) { p.Deadline = deadline - 60 })(w, &b)
	root := w.lockBatch(b)
	w.refuseCall("UnknownBatch: "+word("none").Hex(), "abortBatch", word("none"))
	w.refuseCall(fmt.Sprintf("DeadlineNotPassed: %d, %d", deadline, start), "abortBatch", root)
	w.refuse(fmt.Sprintf("DeadlineNotPassed: %d, %d", deadline-60, start), "call", b.takeOutCall(0))
	w.now = deadline - 59
	w.told1(other, answeredOf(root, rulesVersion), refused, wire.PastDeadline)
	w.told1(other, lockedBy(b.ids[1]), pending, wire.Code{})
	w.takeOut(b, 0)
	w.takeOut(b, 1)
	w.wantState(b.ids[0], stateAborted)
	w.wantState(b.ids[1], stateCommitted)
	w.wantBatch(own, root, stateLocked, 100)
	if taken := w.batch(own, root).Taken; taken != (wire.Bytes32{31: 3}) {
		t.Errorf("taken %s", taken.Hex())
	}
	w.now = deadline
	w.refuseCall("DeadlineNotPassed", "abortBatch", root)
	w.now = deadline + 1
	news := told(t, w.call("abortBatch", root))
	if len(news.Events) != 1 || news.Events[0].Kind != wire.KindBatchOutcome || len(news.Events[0].Destinations) != 1 {
		t.Errorf("told %+v", news.Events)
	}
	w.told1(other, answeredOf(root, rulesVersion), refused, wire.AlreadyDecided)
	w.takeOut(b, 2)
	w.wantBatch(own, root, stateAborted, 0)
	if w.balance(publisher) != 900 || w.publication(b.ids[2]).Reason != reasonDeadline {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

func TestACommittedBatchIsNotAborted(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 1)
	root := w.lockBatch(b)
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	w.now = deadline + 1
	w.refuseCall("NotLocked: 2", "abortBatch", root)
}

// What is in a batch of this home is known to it, though it has no record yet.
func TestWhatIsInABatchIsNotLockedAlone(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 2)
	w.lockBatch(b)
	w.repeat("lockModel", b.publications[0], b.signatures[0])
	w.now = deadline + 1
	w.refuseCall("InBatch", "abortUnlocked", b.publications[0], b.signatures[0])
	w.refuseCall("UnknownPublication", "abort", b.ids[0])
	w.takeOut(b, 0)
	w.repeat("abortUnlocked", b.publications[0], b.signatures[0])
	w.repeat("abort", b.ids[0])
}

func TestTakeOutAtHomeIsRefused(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 3)
	root := w.lockBatch(b)
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	take := func(want string, change func(*wire.BatchProof)) {
		t.Helper()
		proof := b.proof(0)
		change(&proof)
		w.refuseCall(want, "takeOut", b.publications[0], b.signatures[0], proof)
	}
	w.refuseCall("WrongSigner", "takeOut", b.publications[0], stranger.sign(b.ids[0]), b.proof(0))
	foreign := homePublication()
	foreign.Home, foreign.Mirrors = other, []wire.Lane{elsewhere}
	w.refuseCall(fmt.Sprintf("WrongRegistry: %s, %s", other.Registry.Hex(), own.Registry.Hex()),
		"takeOut", foreign, publisher.sign(digestOf(foreign)), b.proof(0))
	take("WrongAuthority", func(p *wire.BatchProof) { p.Home = other })
	take("UnknownBatch: "+word("none").Hex(), func(p *wire.BatchProof) { p.Root = word("none") })
	take("ItemOutOfRun: 3", func(p *wire.BatchProof) { p.Index = 3 })
	take("ItemOutOfRun: 65535", func(p *wire.BatchProof) { p.Index = 65535 })
	take("ProofTooShort", func(p *wire.BatchProof) { p.Siblings = p.Siblings[:1] })
	take("ProofTooLong", func(p *wire.BatchProof) { p.Siblings = append(p.Siblings, word("more")) })
	take("WrongRoot", func(p *wire.BatchProof) { p.Index = 1 })
	take("WrongRoot", func(p *wire.BatchProof) { p.Siblings[1] = word("x") })
	w.wantState(b.ids[0], stateNone)
	w.refuse("UnknownBatch", "view", encoded("stateIn", b.ids[0], wire.BatchProof{Home: other, Root: root}))
	w.refuse("WrongRoot", "view", encoded("stateIn", b.ids[1], b.proof(0)))
	if w.batch(other, root).Role != 0 {
		t.Error("another home has this batch")
	}
}

func TestVersionsMeetWhenTheyAreTakenOut(t *testing.T) {
	w := newWorld(t)
	var b gathered
	for _, version := range []uint64{3, 2} {
		p := homePublication()
		p.Version, p.Nonce = version, word(fmt.Sprint("version ", version))
		b.add(p, publisher)
	}
	root := w.lockBatch(b)
	w.told1(other, revokedBy(other, b.ids[0]), pending, wire.Code{})
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	if seen := w.stateIn(b.ids[0], b.proof(0)); seen != [2]uint8{roleHome, stateRevoked} {
		t.Errorf("%v", seen)
	}
	w.takeOut(b, 0)
	w.takeOut(b, 1)
	w.wantState(b.ids[0], stateRevoked)
	w.wantState(b.ids[1], stateSuperseded)
	if w.balance(publisher) != 1000 {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

func TestAPauseStopsNewBatchesOnly(t *testing.T) {
	w := newWorld(t)
	locked, late, mirrored := gather(homePublication, 1), gather(homePublication, 2), gather(mirrorPublication, 1)
	changedAll(func(p *wire.Publication) { p.Version, p.Nonce = 2, word("late "+p.Name) })(w, &late)
	root := w.lockBatch(locked)
	w.call("answerBatch", other, mirrored.root())
	w.pause(1)
	w.repeatCall(locked.lockCall())
	w.refuseBatch("Paused", late)
	w.repeat("answerBatch", other, mirrored.root())
	w.refuseCall("Paused", "answerBatch", other, word("another"))
	w.refuseCall("Paused", "answerBatch", other, wire.Bytes32{})
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	w.takeOut(locked, 0)
	w.wantState(locked.ids[0], stateCommitted)
}

func TestAMirrorFollowsABatch(t *testing.T) {
	w := newWorld(t)
	b := gather(mirrorPublication, 5)
	root := b.root()
	w.refuseCall("OwnEvents", "answerBatch", own, root)
	w.refuseCall("ZeroRoot", "answerBatch", other, wire.Bytes32{})
	w.refuse("UnknownBatch: "+root.Hex(), "call", b.takeOutCall(0))
	news := told(t, w.call("answerBatch", other, root))
	if len(news.Events) != 1 || news.Events[0].Kind != wire.KindBatchAnswered || news.Events[0].Destinations[0][0] != other.Chain.Hex() {
		t.Errorf("told %+v", news.Events)
	}
	w.repeat("answerBatch", other, root)
	w.refuse("NotDecided", "call", b.takeOutCall(0))
	if seen := w.stateIn(b.ids[0], wire.BatchProof{Home: other, Root: root, Index: 9}); seen != [2]uint8{roleMirror, stateLocked} {
		t.Errorf("%v", seen)
	}
	for _, bad := range []wire.BatchOutcomeBody{
		{State: stateLocked, Count: 5}, {State: stateCommitted}, {State: stateCommitted, Count: 257}, {State: stateAborted, Reason: 4, Count: 5},
	} {
		w.told1(other, eventTo(own, wire.KindBatchOutcome, root, bad), refused, wire.BadBody)
	}
	w.told1(other, eventTo(own, wire.KindBatchOutcome, root, wire.LockedBody{}), refused, wire.BadBody)
	w.told1(elsewhere, batchOutcomeOf(root, stateAborted, 5, 0), applied, wire.Code{}) // of its own batch, whatever its root
	w.told1(other, batchOutcomeOf(root, stateCommitted, 5, 2), applied, wire.Code{})
	w.told1(other, batchOutcomeOf(root, stateCommitted, 5, 2), ignored, wire.Code{})
	w.told1(other, batchOutcomeOf(root, stateAborted, 5, 2), refused, wire.AlreadyDecided)
	w.refuse("TakenOut", "call", b.takeOutCall(1))
	w.refuse("TakenOut", "call", b.takeOutCall(1))
	if seen := w.stateIn(b.ids[1], b.proof(1)); seen != [2]uint8{roleMirror, stateNone} {
		t.Errorf("%v", seen)
	}
	w.told1(other, supersededBy(b.ids[2], 9), pending, wire.Code{})
	for i, want := range map[int]uint8{0: stateCommitted, 2: stateSuperseded, 4: stateCommitted} {
		if seen := w.stateIn(b.ids[i], b.proof(i)); seen != [2]uint8{roleMirror, want} {
			t.Errorf("%d: %v", i, seen)
		}
		requireSilence(t, w.accept("call", b.takeOutCall(i)))
		w.wantState(b.ids[i], want)
	}
}

// requireSilence: home has told already.
func requireSilence(t *testing.T, done *ledgertest.Transaction) {
	t.Helper()
	if done.Told() != nil {
		t.Errorf("told %s", done.Told())
	}
}

// Two homes can name the same root: what one decided of it is not what the other did.
func TestAnotherHomesRootIsAnotherBatch(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 2)
	root := w.lockBatch(b)
	w.told1(other, batchOutcomeOf(root, stateAborted, 2, 3), applied, wire.Code{})
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	w.takeOut(b, 0)
	w.wantBatch(own, root, stateCommitted, 100)
	w.wantBatch(other, root, stateAborted, 0)
}

func TestALockedRecordFollowsItsBatch(t *testing.T) {
	w := newWorld(t)
	b := gather(mirrorPublication, 3)
	w.lock(b.publications[0])
	w.revoke(b.ids[0], "v")
	w.told1(other, batchOutcomeOf(b.root(), stateCommitted, 3, 0), applied, wire.Code{})
	w.lock(b.publications[1])
	w.takeOut(b, 0)
	w.takeOut(b, 1)
	w.wantState(b.ids[0], stateRevoked)
	w.wantState(b.ids[1], stateCommitted)
	w.repeatCall(b.takeOutCall(1))
}
