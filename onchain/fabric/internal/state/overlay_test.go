package state_test

import (
	"errors"
	"math/big"
	"testing"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

var somebody = wire.Address{1}

func newStub() *ledgertest.Stub {
	return ledgertest.NewStub(ledgertest.New("channel", "chaincode"), ledgertest.Proposal{})
}

func TestOwnWritesAreSeenAndSentOnlyAtTheEnd(t *testing.T) {
	stub := newStub()
	overlay := state.New(stub)
	overlay.PutBalance(somebody, big.NewInt(7))
	overlay.PutPartial(wire.Bytes32{1}, 1, wire.Bytes32{2}, []byte("sealed"))
	if n := overlay.Balance(somebody); n.Int64() != 7 {
		t.Errorf("balance %s", n)
	}
	if stub.Transaction().Wrote() {
		t.Error("written before Flush")
	}
	if err := overlay.Flush(); err != nil {
		t.Fatal(err)
	}
	if done := stub.Transaction(); len(done.Writes) != 2 || len(done.Private) != 1 {
		t.Errorf("writes %v, private %v", done.Writes, done.Private)
	}
}

func TestAmountsOfZeroAreValues(t *testing.T) {
	stub := newStub()
	overlay := state.New(stub)
	overlay.PutBalance(somebody, new(big.Int))
	if err := overlay.Flush(); err != nil {
		t.Fatal(err)
	}
	for key, value := range stub.Transaction().Writes {
		if len(value) == 0 {
			t.Errorf("%s is written empty, which a ledger may take for a deletion", key)
		}
	}
}

type brokenStub struct {
	*ledgertest.Stub
	values [][]byte
	err    error
}

func (s brokenStub) GetState(string) ([]byte, error)               { return []byte{1}, s.err }
func (s brokenStub) GetMultipleStates(...string) ([][]byte, error) { return s.values, s.err }

func TestFailuresAreKept(t *testing.T) {
	lost := errors.New("lost")
	for name, use := range map[string]struct {
		stub brokenStub
		read func(*state.Overlay)
	}{
		"a read":           {brokenStub{err: lost}, func(o *state.Overlay) { o.Balance(somebody) }},
		"many reads":       {brokenStub{err: lost}, func(o *state.Overlay) { o.Prefetch([]string{"a", "b"}) }},
		"too few answers":  {brokenStub{values: [][]byte{nil}}, func(o *state.Overlay) { o.Prefetch([]string{"a", "b"}) }},
		"a spoiled record": {brokenStub{}, func(o *state.Overlay) { o.Publication(wire.Bytes32{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			use.stub.Stub = newStub()
			overlay := state.New(use.stub)
			use.read(overlay)
			overlay.PutBalance(somebody, big.NewInt(1))
			if overlay.Err() == nil || overlay.Flush() == nil {
				t.Error("the failure is forgotten")
			}
			if use.stub.Transaction().Wrote() {
				t.Error("written after a failure")
			}
		})
	}
}

func TestPrefetchReadsOnce(t *testing.T) {
	stub := newStub()
	overlay := state.New(stub)
	overlay.PutBalance(somebody, big.NewInt(1))
	overlay.Prefetch([]string{"a", "b", "a"})
	overlay.Prefetch([]string{"a"})
	if n := len(stub.Transaction().Reads); n != 2 {
		t.Errorf("%d reads", n)
	}
}
