package wire_test

import (
	"bytes"
	"reflect"
	"testing"

	"caimi.local/onchain/fabric/internal/fuzztest"
	"caimi.local/onchain/fabric/internal/vectortest"
	"caimi.local/onchain/fabric/internal/wire"
)

// Every type that a call, an event or a stored value is decoded into.
var decoded = []any{
	wire.Publication{}, wire.Withdrawal{}, wire.Revocation{}, wire.Pause{}, wire.Resume{}, wire.Governance{},
	wire.Funding{}, wire.Mint{}, wire.InferenceRequest{}, wire.HostKey{}, wire.Answer{}, wire.LeaseRequest{},
	wire.PartialPost{}, wire.BoardPost{}, wire.Checkpoint{}, wire.Certificate{}, wire.BatchProof{}, wire.Genesis{},
	wire.Event{}, wire.Item{}, []wire.Item{}, []wire.Publication{}, []wire.Signature{}, []wire.Bytes32{}, [][]byte{},
}

var bodies = map[uint16]any{
	wire.KindLocked: wire.LockedBody{}, wire.KindRefused: wire.RefusedBody{}, wire.KindOutcome: wire.OutcomeBody{},
	wire.KindSuperseded: wire.SupersededBody{}, wire.KindRequested: wire.RequestedBody{},
	wire.KindAnswered: wire.AnsweredBody{}, wire.KindRevoked: wire.RevokedBody{},
	wire.KindGovernance: wire.GovernanceBody{}, wire.KindBatchLocked: wire.BatchLockedBody{},
	wire.KindBatchAnswered: wire.BatchAnsweredBody{}, wire.KindBatchOutcome: wire.BatchOutcomeBody{},
	wire.KindSetChange: wire.SetChangeBody{}, wire.KindSetRetired: wire.SetRetiredBody{}, wire.KindSetEntered: wire.SetEnteredBody{},
}

// The first byte of an input chooses the type.
func FuzzRecord(f *testing.F) {
	for _, name := range []string{"wire/ledger.json", "wire/board.json", "wire/epochs.json"} {
		var suite struct{ Cases, Refusals []wireCase }
		vectortest.Read(f, name, &suite)
		for _, c := range append(suite.Cases, suite.Refusals...) {
			for i, prototype := range decoded {
				if reflect.TypeOf(prototype).Name() == c.Record {
					f.Add(append([]byte{byte(i)}, c.Encoded...))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		prototype := decoded[int(data[0])%len(decoded)]
		fuzztest.Bounded(t, func() { decodesToItself(t, data[1:], prototype, wire.BadEncoding, decodeCall) })
	})
}

func FuzzEvent(f *testing.F) {
	var suite struct {
		Items []struct{ Encoded vectortest.Hex }
	}
	vectortest.Read(f, "events/run.json", &suite)
	for _, item := range suite.Items {
		f.Add([]byte(item.Encoded))
	}
	for kind, body := range bodies {
		f.Add(wire.Encode(wire.Item{Event: wire.Event{Schema: wire.Schema, Kind: kind, Body: wire.Encode(body)}}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bounded(t, func() {
			pointer, ok := decodesToItself(t, data, wire.Item{}, wire.BadEncoding, decodeCall)
			if !ok {
				return
			}
			event := pointer.(*wire.Item).Event
			if body, known := bodies[event.Kind]; known {
				decodesToItself(t, event.Body, body, wire.BadBody, wire.DecodeBody)
			}
		})
	})
}

func decodeCall(data []byte, into any) error { return wire.Decode(data, wire.CallLimit, into) }

// What is accepted has one encoding, and that was it; what is refused is so with one code.
func decodesToItself(
	t *testing.T, data []byte, prototype any, refused wire.Code, decode func([]byte, any) error,
) (any, bool) {
	t.Helper()
	pointer := reflect.New(reflect.TypeOf(prototype))
	if err := decode(data, pointer.Interface()); err != nil {
		if refusal, ok := err.(*wire.Refusal); !ok || refusal.Code != refused {
			t.Fatalf("refused with %v", err)
		}
		return nil, false
	}
	if again := wire.Encode(pointer.Elem().Interface()); !bytes.Equal(again, data) {
		t.Fatalf("%T: accepted %x, which encodes to %x", prototype, data, again)
	}
	return pointer.Interface(), true
}
