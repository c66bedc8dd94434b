package contract

import (
	"fmt"
	"reflect"
	"testing"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/wire"
)

func (w *world) wantValid(want []bool, block ...*ledgertest.Transaction) {
	w.t.Helper()
	for i, done := range block {
		if message := done.Response.GetMessage(); message != "" {
			w.t.Fatalf("transaction %d: %s", i, message)
		}
	}
	if valid := w.ledger.Commit(block...); !reflect.DeepEqual(valid, want) {
		w.t.Errorf("VALID: %v, want %v", valid, want)
	}
}

func batchOf(k key, count int) gathered {
	var b gathered
	for i := range count {
		p := homePublication()
		p.Name, p.Nonce = fmt.Sprint(i), word(fmt.Sprint(k, " ", i))
		b.add(p, k)
	}
	return b
}

func (w *world) carryCall(source wire.Lane, events ...wire.Event) *ledgertest.Transaction {
	run := runOf(source, w.next(), events...)
	return w.simulate("call", encoded("applyRun", run.certificate, run.items, run.proof))
}

func TestBatchesOfDifferentPublishersShareNoKey(t *testing.T) {
	w := newWorld(t)
	w.fundAccount(stranger, 500)
	mine, theirs := batchOf(publisher, 3), batchOf(stranger, 3)
	w.wantValid([]bool{true, true}, w.simulate("call", mine.lockCall()), w.simulate("call", theirs.lockCall()))
	w.wantValid([]bool{true, true},
		w.carryCall(other, answeredOf(mine.root(), rulesVersion)), w.carryCall(other, answeredOf(theirs.root(), rulesVersion)))
	w.wantBatch(own, mine.root(), stateCommitted, 300)
	w.wantBatch(own, theirs.root(), stateCommitted, 300)
}

// Decided on the same state, an id that is taken out and the commit of its batch cannot both come true, in either order.
func TestATakeOutAndTheCommitExcludeEachOther(t *testing.T) {
	for name, isCommitFirst := range map[string]bool{"the take-out first": false, "the commit first": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := gather(homePublication, 2)
			root := w.lockBatch(b)
			w.now = deadline + 1
			taking := w.simulate("call", b.takeOutCall(0))
			w.now = deadline
			committing := w.carryCall(other, answeredOf(root, rulesVersion))
			if isCommitFirst {
				w.wantValid([]bool{true, false}, committing, taking)
				w.wantState(b.ids[0], stateNone)
				w.wantBatch(own, root, stateCommitted, 200)
				return
			}
			w.wantValid([]bool{true, false}, taking, committing)
			w.wantState(b.ids[0], stateAborted)
			w.wantBatch(own, root, stateLocked, 100)
			// Sent again it commits, and tells that the id is not meant.
			w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
			if taken := w.batch(own, root).Taken; taken != (wire.Bytes32{31: 1}) {
				t.Errorf("taken %s", taken.Hex())
			}
		})
	}
}

func TestTheAbortAndTheCommitOfABatchExcludeEachOther(t *testing.T) {
	w := newWorld(t)
	root := w.lockBatch(gather(homePublication, 2))
	w.now = deadline + 1
	aborting := w.simulate("call", encoded("abortBatch", root))
	w.now = deadline
	w.wantValid([]bool{true, false}, aborting, w.carryCall(other, answeredOf(root, rulesVersion)))
	w.wantBatch(own, root, stateAborted, 200)
}

// A decided batch is only read, so that all of it can be taken out in one block; each id once.
func TestIdsOfADecidedBatchAreTakenOutSideBySide(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 3)
	root := w.lockBatch(b)
	w.told1(other, answeredOf(root, rulesVersion), applied, wire.Code{})
	w.wantValid([]bool{true, true, true, false}, w.simulate("call", b.takeOutCall(0)), w.simulate("call", b.takeOutCall(1)),
		w.simulate("call", b.takeOutCall(2)), w.simulate("call", b.takeOutCall(1)))
	w.wantBatch(own, root, stateCommitted, 0)

	mirrored := gather(mirrorPublication, 2)
	w.told1(other, batchOutcomeOf(mirrored.root(), stateCommitted, 2, 0), applied, wire.Code{})
	w.wantValid([]bool{true, true}, w.simulate("call", mirrored.takeOutCall(0)), w.simulate("call", mirrored.takeOutCall(1)))
}

// A publication is locked once: by one of two batches, or by itself.
func TestOneIdIsLockedOnce(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 2)
	alone := w.simulate("call", encoded("lockModel", b.publications[0], b.signatures[0]))
	part := gathered{b.publications[:1], b.signatures[:1], b.ids[:1]}
	w.wantValid([]bool{true, false, false}, w.simulate("call", b.lockCall()), w.simulate("call", part.lockCall()), alone)
	w.wantBatch(own, b.root(), stateLocked, 200)
}

// Readers on every ledger parse these bytes: the list of ids stands behind all others.
func TestBatchEventBytes(t *testing.T) {
	w := newWorld(t)
	b := gather(homePublication, 2)
	root := b.root().Hex()
	done := w.accept("call", b.lockCall())
	locked := `{"schema":1,"kind":16,"destinations":[["` + other.Chain.Hex() + `","` + other.Registry.Hex() + `"]],"subject":"` + root +
		`","body":"0x` + fmt.Sprintf("%064x", 2) + `"}`
	want := `{"events":[` + locked + `],"batches":[{"root":"` + root + `","ids":["` + b.ids[0].Hex() + `","` + b.ids[1].Hex() + `"]}]}`
	if string(done.Told()) != want {
		t.Errorf("got  %s\nwant %s", done.Told(), want)
	}
}

// A batch reads what it needs in one exchange with the peer for records and one for answers, however long it is.
func TestALongBatchIsReadAtOnce(t *testing.T) {
	w := newWorld(t)
	w.fundAccount(stranger, 256*100)
	b := batchOf(stranger, 256)
	done := w.accept("call", b.lockCall())
	if n := done.Exchanges; n > 8 {
		t.Errorf("%d exchanges with the peer", n)
	}
	w.wantBatch(own, b.root(), stateLocked, 256*100)
	w.told1(other, answeredOf(b.root(), rulesVersion), applied, wire.Code{})
	w.takeOut(b, 255)
	w.wantState(b.ids[255], stateCommitted)
	w.wantBatch(own, b.root(), stateCommitted, 255*100)
}
