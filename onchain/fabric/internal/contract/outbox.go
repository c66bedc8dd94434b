package contract

import (
	"encoding/hex"
	"encoding/json"

	"caimi.local/onchain/fabric/internal/wire"
)

// EventName is the name of a transaction's single chaincode event.
const EventName = "caimi"

// The JSON of spec 30 §6 and 37 §6; keys stand in the order of the fields.
type outbox struct {
	Events   []eventNote   `json:"events,omitempty"`
	Applied  []appliedNote `json:"applied,omitempty"`
	Leases   []string      `json:"leases,omitempty"`
	Partials []partialNote `json:"partials,omitempty"`
	Posts    []postNote    `json:"posts,omitempty"`
	Batches  []batchNote   `json:"batches,omitempty"`
}

type eventNote struct {
	Schema       uint16      `json:"schema"`
	Kind         uint16      `json:"kind"`
	Destinations [][2]string `json:"destinations"`
	Subject      string      `json:"subject"`
	Body         string      `json:"body"`
}

type appliedNote struct {
	Chain       string `json:"chain"`
	Registry    string `json:"registry"`
	Sequence    uint64 `json:"sequence"`
	Disposition uint8  `json:"disposition"`
	Code        uint16 `json:"code"`
}

type partialNote struct {
	Lease string `json:"lease"`
	Index uint8  `json:"index"`
}

type postNote struct {
	Epoch uint64 `json:"epoch"`
	Phase uint8  `json:"phase"`
	Index uint8  `json:"index"`
}

type batchNote struct {
	Root string   `json:"root"`
	IDs  []string `json:"ids"`
}

// emit adds a sequenced event; its body is a static record.
func (b *outbox) emit(kind uint16, destinations []wire.Lane, subject wire.Bytes32, body any) {
	note := eventNote{
		Schema: wire.Schema, Kind: kind, Destinations: make([][2]string, len(destinations)),
		Subject: subject.Hex(), Body: "0x" + hex.EncodeToString(wire.Encode(body)),
	}
	for i, lane := range destinations {
		note.Destinations[i] = [2]string{lane.Chain.Hex(), lane.Registry.Hex()}
	}
	b.Events = append(b.Events, note)
}

func (b *outbox) apply(source wire.Lane, sequence uint64, disposition uint8, code uint16) {
	b.Applied = append(b.Applied, appliedNote{source.Chain.Hex(), source.Registry.Hex(), sequence, disposition, code})
}

// list logs the ids of a batch beside its event, so that a ledger alone is enough to make every proof.
func (b *outbox) list(root wire.Bytes32, ids []wire.Bytes32) {
	note := batchNote{Root: root.Hex(), IDs: make([]string, len(ids))}
	for i, id := range ids {
		note.IDs[i] = id.Hex()
	}
	b.Batches = append(b.Batches, note)
}

// payload gives the event's bytes, nil when the call has nothing to tell.
func (b *outbox) payload() ([]byte, error) {
	if len(b.Events)+len(b.Applied)+len(b.Leases)+len(b.Partials)+len(b.Posts)+len(b.Batches) == 0 {
		return nil, nil
	}
	return json.Marshal(b)
}
