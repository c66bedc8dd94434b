package contract

import (
	"testing"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// Of all pairs of situation and input, those of the table move and every other one is refused.
func TestAbsentTransitionsAreRefused(t *testing.T) {
	moves := 0
	for role := roleHome; role <= roleMirror; role++ {
		for before := stateNone; before <= stateRevoked; before++ {
			for happened := inputLock; happened <= inputRevoked; happened++ {
				record := state.Publication{Role: role, State: before}
				err := advance(&record, happened)
				if next, ok := transitions[situation{role, before, happened}]; ok {
					if moves++; err != nil || record.State != next {
						t.Errorf("%d %d %d: %d, %v", role, before, happened, record.State, err)
					}
					continue
				}
				if !isRefusal(err, wire.AlreadyDecided) || record.State != before {
					t.Errorf("%d %d %d: moved to %d, %v", role, before, happened, record.State, err)
				}
			}
		}
	}
	if moves != len(transitions) {
		t.Errorf("%d moves, %d transitions", moves, len(transitions))
	}
}

func isRefusal(err error, code wire.Code) bool {
	refusal, ok := err.(*wire.Refusal)
	return ok && refusal.Code == code
}

func TestNames(t *testing.T) {
	long := "a23456789012345678901234567890123456789012345678901234567890123"
	for _, name := range []string{"a", "0", "a.b", "a_b-c", "aa", long, long + "4"} {
		p := homePublication()
		p.Name = name
		if err := checkPublication(p); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "A", "-a", "a-", ".a", "a.", "a b", "a/b", "é", "a\n", "a\x00", long + "45"} {
		p := homePublication()
		p.Name = name
		if err := checkPublication(p); !isRefusal(err, wire.BadName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Where two things are wrong, the same one names the refusal on every ledger.
func TestOrderOfPermanentReasons(t *testing.T) {
	steps := []struct {
		code wire.Code
		mend func(*wire.Publication)
	}{
		{wire.UnsupportedFormat, func(p *wire.Publication) { p.Format = 1 }},
		{wire.UnsupportedKind, func(p *wire.Publication) { p.Kind = 2 }},
		{wire.BadName, func(p *wire.Publication) { p.Name = "good" }},
		{wire.BadVersion, func(p *wire.Publication) { p.Version = 1 }},
		{wire.BadCid, func(p *wire.Publication) { p.Ciphertext.Codec = codecRaw }},
		{wire.BadCid, func(p *wire.Publication) { p.Ciphertext.Digest = word("c") }},
		{wire.UnsupportedPolicy, func(p *wire.Publication) { p.PolicyHash = wire.PolicyOpen }},
		{wire.UnsupportedTerms, func(p *wire.Publication) { p.Terms.Unit = 0 }},
		{wire.UnsupportedExtension, func(p *wire.Publication) { p.ExtensionHash = wire.Bytes32{} }},
		{wire.BadMirrors, func(p *wire.Publication) { p.Mirrors = []wire.Lane{other} }},
	}
	p := wire.Publication{Home: own, Terms: wire.Terms{Unit: 1}, ExtensionHash: word("x")}
	for _, step := range steps {
		if err := checkPublication(p); !isRefusal(err, step.code) {
			t.Errorf("got %v, want %s", err, step.code.Name)
		}
		step.mend(&p)
	}
	if err := checkPublication(p); err != nil {
		t.Error(err)
	}
}

func TestMirrors(t *testing.T) {
	lane := func(n byte) wire.Lane { return wire.Lane{Chain: wire.Bytes32{n / 2}, Registry: wire.Bytes32{n % 2}} }
	list := func(numbers ...byte) []wire.Lane {
		lanes := make([]wire.Lane, len(numbers))
		for i, n := range numbers {
			lanes[i] = lane(n)
		}
		return lanes
	}
	for _, good := range [][]wire.Lane{list(1), list(0, 1), list(1, 2), list(1, 2, 3, 4, 5, 6, 7)} {
		if !lawfulMirrors(lane(9), good) {
			t.Errorf("refused %v", good)
		}
	}
	for _, bad := range [][]wire.Lane{nil, list(9), list(2, 1), list(1, 1), list(1, 9), list(1, 2, 3, 4, 5, 6, 7, 8)} {
		if lawfulMirrors(lane(9), bad) {
			t.Errorf("took %v", bad)
		}
	}
}
