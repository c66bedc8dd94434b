// Package state keeps what a registry stores (spec 30 §5) on a Fabric ledger.
package state

import (
	"fmt"
	"sort"

	"caimi.local/onchain/fabric/internal/wire"
)

// Partials is the private data collection of sealed partials.
const Partials = "partials"

// Ledger is what the overlay uses of a chaincode stub.
type Ledger interface {
	GetState(key string) ([]byte, error)
	GetMultipleStates(keys ...string) ([][]byte, error)
	PutState(key string, value []byte) error
	GetPrivateData(collection, key string) ([]byte, error)
	PutPrivateData(collection, key string, value []byte) error
	StartWriteBatch()
	FinishWriteBatch() error
}

// Overlay lets one call see its own writes, which Fabric's GetState does not, and writes nothing before Flush.
//
// A failing peer is remembered: reads then give nothing, and whoever ends the call asks Err first, so that no outcome
// rests on a failed read.
type Overlay struct {
	ledger   Ledger
	known    map[string][]byte // read or written in this call; nil means absent
	written  map[string]bool
	partials map[string][]byte
	err      error
}

// New makes an overlay without writes.
func New(ledger Ledger) *Overlay {
	return &Overlay{ledger: ledger, known: map[string][]byte{}, written: map[string]bool{}, partials: map[string][]byte{}}
}

// Err is the first failure of the peer or of a stored value, nil if there was none.
func (o *Overlay) Err() error { return o.err }

func (o *Overlay) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *Overlay) get(key string) []byte {
	if value, ok := o.known[key]; ok {
		return value
	}
	value, err := o.ledger.GetState(key)
	if err != nil {
		o.fail(fmt.Errorf("read %s: %w", key, err))
		return nil
	}
	o.known[key] = value
	return value
}

// Prefetch reads keys in one exchange with the peer instead of one each.
func (o *Overlay) Prefetch(keys []string) {
	var missing []string
	listed := make(map[string]bool, len(keys))
	for _, key := range keys {
		if _, ok := o.known[key]; !ok && !listed[key] {
			missing = append(missing, key)
			listed[key] = true
		}
	}
	if len(missing) == 0 {
		return
	}
	values, err := o.ledger.GetMultipleStates(missing...)
	if err == nil && len(values) != len(missing) {
		err = fmt.Errorf("%d values for %d keys", len(values), len(missing))
	}
	if err != nil {
		o.fail(fmt.Errorf("read %d keys: %w", len(missing), err))
		return
	}
	for i, key := range missing {
		o.known[key] = values[i]
	}
}

func (o *Overlay) put(key string, value []byte) {
	o.known[key] = value
	o.written[key] = true
}

// Flush sends the writes to the peer, in the order of their keys.
func (o *Overlay) Flush() error {
	if o.err != nil {
		return o.err
	}
	o.ledger.StartWriteBatch()
	for _, key := range sorted(o.written) {
		if err := o.ledger.PutState(key, o.known[key]); err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
	}
	for _, key := range sorted(o.partials) {
		if err := o.ledger.PutPrivateData(Partials, key, o.partials[key]); err != nil {
			return fmt.Errorf("write private %s: %w", key, err)
		}
	}
	if err := o.ledger.FinishWriteBatch(); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	return nil
}

func sorted[V any](keys map[string]V) []string {
	list := make([]string, 0, len(keys))
	for key := range keys {
		list = append(list, key)
	}
	sort.Strings(list)
	return list
}

func load[T any](o *Overlay, key string) (T, bool) {
	var record T
	value := o.get(key)
	if len(value) == 0 {
		return record, false
	}
	if err := wire.Decode(value, wire.StateLimit, &record); err != nil {
		o.fail(fmt.Errorf("stored %s: %w", key, err))
		return record, false
	}
	return record, true
}

func store[T any](o *Overlay, key string, record T) { o.put(key, wire.Encode(record)) }
