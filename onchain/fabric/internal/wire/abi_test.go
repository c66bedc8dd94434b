package wire_test

import (
	"bytes"
	"math/big"
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

func samplePublication() wire.Publication {
	return wire.Publication{
		Format: 1, Kind: 2, Publisher: wire.Address{3}, Name: "name", Version: 4, Home: wire.Lane{Chain: wire.Bytes32{5}},
		Mirrors: []wire.Lane{{Registry: wire.Bytes32{6}}}, Deposit: wire.Uint128{7}, Deadline: 8,
	}
}

func TestRejectsOtherEncodings(t *testing.T) {
	good := wire.Encode(samplePublication(), []byte("signature"))
	change := func(at int, b byte) []byte {
		changed := bytes.Clone(good)
		changed[at] = b
		return changed
	}
	const name = 64 + 20*32 // place of the name's length: after the outer head and the struct's head
	for what, data := range map[string][]byte{
		"nothing":                   nil,
		"a byte less":               good[:len(good)-1],
		"a word less":               good[:len(good)-32],
		"a word more":               append(bytes.Clone(good), make([]byte, 32)...),
		"an offset too low":         change(31, 0x20),
		"an offset beyond the data": change(30, 0xff),
		"a huge offset":             change(0, 0xff),
		"an offset above 64 bits":   change(23, 1),
		"a number beyond its width": change(64+29, 1),
		"dirt beside an account":    change(64+2*32+11, 1),
		"dirt behind a string":      change(name+32+10, 1),
		"dirt behind bytes":         change(len(good)-1, 1),
		"a length beyond the data":  change(name+30, 0xff),
		"a huge length":             change(name, 0xff),
	} {
		var p wire.Publication
		var signature []byte
		if err := wire.Decode(data, wire.CallLimit, &p, &signature); err == nil || err.Error() != "BadEncoding" {
			t.Errorf("%s: %v", what, err)
		}
	}
	var p wire.Publication
	var signature []byte
	if err := wire.Decode(good, wire.CallLimit, &p, &signature); err != nil || string(signature) != "signature" {
		t.Errorf("%v, %q", err, signature)
	}
	if err := wire.Decode(good, len(good)-1, &p, &signature); err == nil {
		t.Error("longer than the limit")
	}
}

// Text is bytes on a ledger (spec 10 §2): a name that is no UTF-8 is refused as a name, not as an encoding.
func TestStringsAreBytes(t *testing.T) {
	p := samplePublication()
	p.Name = "\xff\x00\xc3"
	var q wire.Publication
	if err := wire.Decode(wire.Encode(p), wire.CallLimit, &q); err != nil || q.Name != p.Name {
		t.Errorf("%v, %q", err, q.Name)
	}
}

func TestRejectsListsBeyondTheLimit(t *testing.T) {
	for size, want := range map[int]bool{4096: true, 4097: false} {
		var list []wire.Bytes32
		if err := wire.Decode(wire.Encode(make([]wire.Bytes32, size)), wire.CallLimit, &list); (err == nil) != want {
			t.Errorf("%d elements: %v", size, err)
		}
	}
}

// Two heads that point at one tail would let a small input become a large value.
func TestRejectsSharedTails(t *testing.T) {
	shared := wire.Encode([][]byte{[]byte("same"), []byte("same")})
	copy(shared[96:128], shared[64:96])
	var list [][]byte
	if err := wire.Decode(shared, wire.CallLimit, &list); err == nil {
		t.Error("accepted")
	}
}

func TestRejectsBodies(t *testing.T) {
	good := wire.Encode(wire.LockedBody{Role: 2})
	var body wire.LockedBody
	if err := wire.DecodeBody(good, &body); err != nil || body.Role != 2 {
		t.Errorf("%v", err)
	}
	for _, data := range [][]byte{nil, good[:95], append(good, make([]byte, 1024)...), append(bytes.Clone(good), 0)} {
		if err := wire.DecodeBody(data, &body); err == nil || err.Error() != "BadBody" {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	}
}

func TestMessages(t *testing.T) {
	big128 := new(big.Int).Lsh(big.NewInt(1), 128)
	for want, refusal := range map[string]*wire.Refusal{
		"BadEncoding":          wire.BadEncoding.With(),
		"LowBalance: 5, 0":     wire.LowBalance.With(big.NewInt(5), new(big.Int)),
		"WrongEpoch: 1, 2":     wire.WrongEpoch.With(uint64(1), uint64(2)),
		"SmallDeposit: 256, 0": wire.SmallDeposit.With(wire.Uint128{14: 1}, wire.Uint128{}),
		"UnknownOperator: 0x0a00000000000000000000000000000000000000": wire.UnknownOperator.With(wire.Address{10}),
		"OutOfRange: 128, 340282366920938463463374607431768211456":    wire.OutOfRange.With(128, big128),
	} {
		if refusal.Error() != want {
			t.Errorf("%q, want %q", refusal.Error(), want)
		}
	}
	if _, err := wire.ToUint128(big128); err == nil {
		t.Error("129 bits fit into 128")
	}
	if _, err := wire.ToUint128(big.NewInt(-1)); err == nil {
		t.Error("a negative number fits")
	}
}

// Whatever decodes is what encoding gives, byte for byte; nothing panics.
func FuzzDecode(f *testing.F) {
	f.Add(wire.Encode(samplePublication(), []byte("signature")))
	f.Add(wire.Encode(wire.Certificate{}, []wire.Item{{Event: wire.Event{Body: []byte{1}}}}, []wire.Bytes32{{}}))
	f.Add(wire.Encode([][]byte{{1}, {}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p wire.Publication
		var signature []byte
		if wire.Decode(data, wire.CallLimit, &p, &signature) == nil && !bytes.Equal(wire.Encode(p, signature), data) {
			t.Error("not canonical: publication")
		}
		var c wire.Certificate
		var items []wire.Item
		var proof []wire.Bytes32
		if wire.Decode(data, wire.CallLimit, &c, &items, &proof) == nil && !bytes.Equal(wire.Encode(c, items, proof), data) {
			t.Error("not canonical: run")
		}
		var batch [][]byte
		if wire.Decode(data, wire.CallLimit, &batch) == nil && !bytes.Equal(wire.Encode(batch), data) {
			t.Error("not canonical: batch")
		}
	})
}
