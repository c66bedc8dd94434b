package contract

import (
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/wire"
)

// 50 lockModel by 50 publishers, all simulated on the same state and ordered into one block: all VALID.
func TestUnrelatedLocksShareNoKey(t *testing.T) {
	w := newWorld(t)
	block := make([]*ledgertest.Transaction, 50)
	for i := range block {
		w.fundAccount(key(fmt.Sprint("publisher ", i)), 100)
	}
	for i := range block {
		k := key(fmt.Sprint("publisher ", i))
		p := homePublication()
		p.Publisher = k.address()
		block[i] = w.simulate("call", encoded("lockModel", p, k.sign(digestOf(p))))
		if message := block[i].Response.GetMessage(); message != "" {
			t.Fatal(message)
		}
	}
	for i, valid := range w.ledger.Commit(block...) {
		if !valid {
			t.Errorf("lock %d of 50 is not VALID", i)
		}
	}
}

// Two runs of one lane, without common events, are carried in one block; the same run twice is not applied twice.
func TestRunsShareOnlyTheirMarks(t *testing.T) {
	w := newWorld(t)
	ids := []wire.Bytes32{}
	for i := range 3 {
		p := mirrorPublication()
		p.Nonce = word(fmt.Sprint("run ", i))
		ids = append(ids, w.lock(p))
	}
	carry := func(first uint64, id wire.Bytes32) *ledgertest.Transaction {
		run := runOf(other, first, outcomeOf(id, stateCommitted))
		return w.simulate("call", encoded("applyRun", run.certificate, run.items, run.proof))
	}
	valid := w.ledger.Commit(carry(1, ids[0]), carry(2, ids[1]), carry(2, ids[2]))
	if !valid[0] || !valid[1] || valid[2] {
		t.Errorf("VALID: %v, want the last one only to be invalid", valid)
	}
}

func TestMulticallIsOneCall(t *testing.T) {
	w := newWorld(t)
	p, q := homePublication(), homePublication()
	q.Version, q.Nonce = 2, word("q")
	lockP := encoded("lockModel", p, publisher.sign(digestOf(p)))
	lockQ := encoded("lockModel", q, publisher.sign(digestOf(q)))
	w.refuseCall("UnknownPublication", "multicall", [][]byte{lockP, encoded("abort", word("nothing"))})
	w.refuseCall("BadEncoding", "multicall", [][]byte{lockP, encoded("multicall", [][]byte{})})
	w.refuseCall("BadEncoding", "multicall", make([][]byte, 1001))
	w.refuseCall("UnknownFunction", "multicall", [][]byte{lockP, {}})
	w.refuseCall("BadEncoding", "multicall", [][]byte{lockP, lockQ[:99]})
	if w.balance(publisher) != 1000 {
		t.Fatalf("balance %d", w.balance(publisher))
	}
	// The second call sees what the first has taken, which Fabric's own reads would not show.
	done := w.call("multicall", [][]byte{lockP, lockP, lockQ})
	if n := len(told(t, done).Events); n != 2 {
		t.Errorf("%d events", n)
	}
	if w.balance(publisher) != 800 {
		t.Errorf("balance %d", w.balance(publisher))
	}
	w.repeat("multicall", [][]byte{lockP, lockQ})
	w.repeat("multicall", [][]byte{})
}

func TestMulticallCannotSpendTwice(t *testing.T) {
	w := newWorld(t)
	var batch [][]byte
	for i := range 11 {
		p := homePublication()
		p.Version, p.Nonce = uint64(i+1), word(fmt.Sprint("spend ", i))
		batch = append(batch, encoded("lockModel", p, publisher.sign(digestOf(p))))
	}
	w.refuseCall("LowBalance: 100, 0", "multicall", batch)
	w.call("multicall", batch[:10])
	if w.balance(publisher) != 0 {
		t.Errorf("balance %d", w.balance(publisher))
	}
}

// Readers on every ledger parse these bytes: keys in this order, empty lists left out, lower-case hex.
func TestEventBytes(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	done := w.call("lockModel", p, publisher.sign(digestOf(p)))
	id := digestOf(p).Hex()
	locked := `{"schema":1,"kind":1,"destinations":[["` + other.Chain.Hex() + `","` + other.Registry.Hex() + `"]],"subject":"` + id +
		`","body":"0x` + fmt.Sprintf("%064x%x%x", 1, own.Chain, own.Registry) + `"}`
	if want := `{"events":[` + locked + `]}`; string(done.Told()) != want {
		t.Errorf("got  %s\nwant %s", done.Told(), want)
	}
	run := runOf(other, 9, lockedBy(digestOf(p)))
	done = w.call("applyRun", run.certificate, run.items, run.proof)
	outcome := `{"schema":1,"kind":3,"destinations":[["` + other.Chain.Hex() + `","` + other.Registry.Hex() + `"]],"subject":"` + id +
		`","body":"0x` + fmt.Sprintf("%064x%064x", 2, 0) + `"}`
	note := `{"chain":"` + other.Chain.Hex() + `","registry":"` + other.Registry.Hex() + `","sequence":9,"disposition":1,"code":0}`
	if want := `{"events":[` + outcome + `],"applied":[` + note + `]}`; string(done.Told()) != want {
		t.Errorf("got  %s\nwant %s", done.Told(), want)
	}
}

// Endorsers have to agree byte by byte, whatever the order of Go's maps and their own clocks.
func TestEndorsersAgree(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	id := digestOf(p)
	w.carry(other, 1, lockedBy(id))
	var first string
	for i := range 20 {
		w.clock = start + int64(i) - 10
		done := w.simulate("call", encoded("lockModel", p, publisher.sign(id)))
		shown := fmt.Sprintf("%v %q %q %s", done.Reads, done.Writes, done.Events, done.Response)
		if first == "" {
			first = shown
		} else if shown != first {
			t.Fatal("two endorsers differ")
		}
	}
}

func TestLongRun(t *testing.T) {
	w := newWorld(t)
	events := make([]wire.Event, 1000)
	for i := range events {
		events[i] = outcomeOf(word(fmt.Sprint("subject ", i)), stateCommitted)
	}
	if notes := w.carry(other, 1, events...); len(notes) != 1000 || notes[999].Disposition != pending {
		t.Fatalf("%d notes", len(notes))
	}
}
