package contract

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

func hostKey() wire.HostKey {
	return wire.HostKey{SealingKey: word("sealing"), SigningKey: host.address(), Epoch: 1, Until: start + 3600}
}

func leaseRequest() wire.LeaseRequest {
	return wire.LeaseRequest{
		At: own, Publication: word("publication"), SealingKey: word("sealing"), SigningKey: host.address(),
		Epoch: 1, Purpose: 1, End: start + 600, Calls: 10, Nonce: word("lease"), Deadline: deadline,
	}
}

func leaseCall(l wire.LeaseRequest, k wire.HostKey) []any {
	return []any{l, host.sign(digestOf(l)), k, operator.sign(digestOf(k))}
}

func (w *world) openLease() wire.Bytes32 {
	w.t.Helper()
	l := leaseRequest()
	w.call("openLease", leaseCall(l, hostKey())...)
	return digestOf(l)
}

func TestLease(t *testing.T) {
	w := newWorld(t)
	l := leaseRequest()
	done := w.call("openLease", leaseCall(l, hostKey())...)
	if want := `{"leases":["` + digestOf(l).Hex() + `"]}`; string(done.Told()) != want {
		t.Errorf("event %s, want %s", done.Told(), want)
	}
	w.repeat("openLease", leaseCall(l, hostKey())...)
	var kept wire.LeaseRequest
	if w.view("lease", &kept, digestOf(l)); kept != l {
		t.Errorf("lease %+v", kept)
	}
}

func TestRejectsLease(t *testing.T) {
	w := newWorld(t)
	type change = func(*wire.LeaseRequest, *wire.HostKey)
	for name, c := range map[string]struct {
		want   string
		change change
	}{
		"another registry":        {"WrongRegistry", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.At = other }},
		"too late":                {"Expired", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Deadline = start - 1 }},
		"epoch of the lease":      {"WrongEpoch: 1, 2", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Epoch = 2 }},
		"epoch of the host key":   {"WrongEpoch: 1, 3", func(_ *wire.LeaseRequest, k *wire.HostKey) { k.Epoch = 3 }},
		"host key over":           {"HostKeyExpired", func(_ *wire.LeaseRequest, k *wire.HostKey) { k.Until = start - 1 }},
		"another sealing key":     {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.SealingKey = word("x") }},
		"another signing key":     {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.SigningKey = stranger.address() }},
		"no purpose":              {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Purpose = 0 }},
		"another purpose":         {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Purpose = 2 }},
		"no call":                 {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Calls = 0 }},
		"too many calls":          {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.Calls = 1<<20 + 1 }},
		"over at once":            {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.End = start }},
		"longer than the host is": {"BadLease", func(l *wire.LeaseRequest, _ *wire.HostKey) { l.End = start + 3601 }},
		"longer than a day": {"BadLease", func(l *wire.LeaseRequest, k *wire.HostKey) {
			l.End, k.Until = start+86_401, start+100_000
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l, k := leaseRequest(), hostKey()
			c.change(&l, &k)
			w.refuseCall(c.want, "openLease", leaseCall(l, k)...)
		})
	}
	l, k := leaseRequest(), hostKey()
	w.refuseCall("UnknownOperator", "openLease", l, host.sign(digestOf(l)), k, stranger.sign(digestOf(k)))
	w.refuseCall("WrongSigner", "openLease", l, stranger.sign(digestOf(l)), k, operator.sign(digestOf(k)))
}

func partialOf(lease wire.Bytes32, index uint8, sealed []byte) wire.PartialPost {
	return wire.PartialPost{At: own, Lease: lease, Index: index, SealedHash: sha256.Sum256(sealed)}
}

func TestPartials(t *testing.T) {
	w := newWorld(t)
	lease, sealed := w.openLease(), []byte("sealed partial")
	p := partialOf(lease, 2, sealed)
	w.transient = map[string][]byte{"partial": sealed}
	done := w.call("postPartial", p, validators[1].sign(digestOf(p)))
	if want := `{"partials":[{"lease":"` + lease.Hex() + `","index":2}]}`; string(done.Told()) != want {
		t.Errorf("event %s, want %s", done.Told(), want)
	}
	for key, value := range done.Writes {
		if bytes.Contains(value, sealed) {
			t.Errorf("the sealed partial is public under %s", key)
		}
	}
	w.transient = nil
	w.repeat("postPartial", p, validators[1].sign(digestOf(p)))
	var list [][]byte
	w.view("partials", &list, lease)
	if len(list) != 4 || !bytes.Equal(list[1], sealed) || len(list[0])+len(list[2])+len(list[3]) != 0 {
		t.Errorf("partials %q", list)
	}
	w.ledger.Purge()
	w.repeat("postPartial", p, validators[1].sign(digestOf(p)))
	w.view("partials", &list, lease)
	if len(list) != 4 || len(list[1]) != 0 {
		t.Errorf("partials after the purge %q", list)
	}
}

func TestRejectsPartial(t *testing.T) {
	w := newWorld(t)
	lease, sealed := w.openLease(), []byte("sealed partial")
	first := partialOf(lease, 1, sealed)
	w.transient = map[string][]byte{"partial": sealed}
	w.call("postPartial", first, validators[0].sign(digestOf(first)))
	send := func(want string, p wire.PartialPost, by key) {
		t.Helper()
		w.refuseCall(want, "postPartial", p, by.sign(digestOf(p)))
	}
	send("UnknownSigner: 0", partialOf(lease, 0, sealed), validators[0])
	send("UnknownSigner: 5", partialOf(lease, 5, sealed), validators[0])
	send("WrongSigner", partialOf(lease, 2, sealed), validators[0])
	elsewhere := partialOf(lease, 2, sealed)
	elsewhere.At = other
	send("WrongRegistry", elsewhere, validators[1])
	send("UnknownLease", partialOf(word("none"), 2, sealed), validators[1])
	send("AlreadyPosted", partialOf(lease, 1, []byte("another")), validators[0])
	send("WrongCommitment", partialOf(lease, 2, []byte("another")), validators[1])
	w.transient = nil
	send("WrongCommitment", partialOf(lease, 2, sealed), validators[1])
	long := make([]byte, 1025)
	w.transient = map[string][]byte{"partial": long}
	send("WrongCommitment", partialOf(lease, 2, long), validators[1])
	w.transient = map[string][]byte{"partial": sealed}
	w.now = start + 601
	send("LeaseEnded", partialOf(lease, 2, sealed), validators[1])
	w.now = start + 600
	last := partialOf(lease, 2, sealed)
	w.call("postPartial", last, validators[1].sign(digestOf(last)))
}

func postOf(phase, index uint8, body []byte) wire.BoardPost {
	return wire.BoardPost{At: own, Epoch: 1, Phase: phase, Index: index, BodyHash: wire.Keccak256(body)}
}

func TestBoard(t *testing.T) {
	w := newWorld(t)
	body := bytes.Repeat([]byte{7}, 65_536)
	p := postOf(5, 3, body)
	done := w.call("postBoard", p, validators[2].sign(digestOf(p)), body)
	if want := `{"posts":[{"epoch":1,"phase":5,"index":3}]}`; string(done.Told()) != want {
		t.Errorf("event %s, want %s", done.Told(), want)
	}
	w.repeat("postBoard", p, validators[2].sign(digestOf(p)), body)
	var list [][]byte
	w.view("board", &list, uint64(1), uint8(5))
	if len(list) != 4 || !bytes.Equal(list[2], body) || len(list[0]) != 0 {
		t.Errorf("board of %d", len(list))
	}
}

func TestEveryStepOfEveryAttemptHasItsPlace(t *testing.T) {
	w := newWorld(t)
	body := []byte("message")
	for attempt := range uint8(16) {
		for _, step := range []uint8{1, 5, 9, 13} {
			p := postOf(16*attempt+step, 2, body)
			w.call("postBoard", p, validators[1].sign(digestOf(p)), body)
		}
	}
}

func TestRejectsPost(t *testing.T) {
	w := newWorld(t)
	body := []byte("message")
	first := postOf(1, 1, body)
	w.call("postBoard", first, validators[0].sign(digestOf(first)), body)
	send := func(want string, p wire.BoardPost, by key, body []byte) {
		t.Helper()
		w.refuseCall(want, "postBoard", p, by.sign(digestOf(p)), body)
	}
	send("UnknownSigner: 0", postOf(1, 0, body), validators[0], body)
	send("UnknownSigner: 5", postOf(1, 5, body), validators[0], body)
	send("WrongSigner", postOf(1, 2, body), validators[0], body)
	elsewhere := postOf(1, 2, body)
	elsewhere.At = other
	send("WrongRegistry", elsewhere, validators[1], body)
	next := postOf(1, 2, body)
	next.Epoch = 2
	send("WrongEpoch: 1, 2", next, validators[1], body)
	for _, phase := range []uint8{0, 6, 8, 14, 15, 16, 22, 24, 30, 31, 240, 254, 255} {
		send(fmt.Sprintf("WrongPhase: %d", phase), postOf(phase, 2, body), validators[1], body)
	}
	send("WrongCommitment", postOf(1, 2, body), validators[1], []byte("another"))
	long := make([]byte, 65_537)
	send("WrongCommitment", postOf(1, 2, long), validators[1], long)
	send("AlreadyPosted", postOf(1, 1, []byte("another")), validators[0], []byte("another"))
}
