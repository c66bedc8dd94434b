package state

import (
	"math/big"

	"caimi.local/onchain/fabric/internal/wire"
)

// Batch is one batch at this registry (spec 37).
type Batch struct {
	Role     uint8
	State    uint8
	Count    uint16      // publications; 0 at a mirror until home has decided
	Mirrors  []wire.Lane // empty at a mirror until home has decided
	Earliest uint64      // deadlines, at home
	Latest   uint64
	Deposits wire.Bytes32 // all that the lock has taken; what left it since is kept by index
	Awaited  uint8        // mirrors that home still waits for
	Taken    wire.Bytes32 // bit i: the publication at index i was taken out before home decided
	Reason   uint8
}

// batchKey is shared by the calls that decide about one batch, and they have to exclude each other: its lock, a mirror's
// answer, its abort, and taking out while it is LOCKED write it. Who takes out of a decided batch only reads it, so that
// any number of publications of one batch are taken out in one block: what moved out is written by index (movedKey).
func batchKey(home wire.Lane, root wire.Bytes32) string {
	return key("batch", laneHash(home), root[:])
}

func batchAnswerKey(root wire.Bytes32, mirror wire.Lane) string {
	return key("batchanswer", root[:], laneHash(mirror))
}

func movedKey(root wire.Bytes32, index uint16) string {
	return numbered(key("moved", root[:]), uint64(index))
}

// Batch gives a record.
func (o *Overlay) Batch(home wire.Lane, root wire.Bytes32) (Batch, bool) {
	return load[Batch](o, batchKey(home, root))
}

// PutBatch stores it.
func (o *Overlay) PutBatch(home wire.Lane, root wire.Bytes32, batch Batch) {
	store(o, batchKey(home, root), batch)
}

// BatchAnswer is the version of the rules that a mirror answered with, its only answer to home.
func (o *Overlay) BatchAnswer(root wire.Bytes32, mirror wire.Lane) (uint16, bool) {
	return load[uint16](o, batchAnswerKey(root, mirror))
}

// PutBatchAnswer stores it.
func (o *Overlay) PutBatchAnswer(root wire.Bytes32, mirror wire.Lane, version uint16) {
	store(o, batchAnswerKey(root, mirror), version)
}

// MoveDeposit notes, at home, the deposit that left the batch when the publication at an index was taken out.
func (o *Overlay) MoveDeposit(root wire.Bytes32, index uint16, deposit wire.Uint128) {
	store(o, movedKey(root, index), deposit)
}

// DepositsOf is what a batch holds now, at home.
func (o *Overlay) DepositsOf(root wire.Bytes32, batch Batch) *big.Int {
	keys := make([]string, batch.Count)
	for i := range keys {
		keys[i] = movedKey(root, uint16(i))
	}
	o.Prefetch(keys)
	held := new(big.Int).SetBytes(batch.Deposits[:])
	for _, key := range keys {
		moved, _ := load[wire.Uint128](o, key)
		held.Sub(held, moved.Big())
	}
	return held
}

// PrefetchBatchAnswers reads what mirrors have said of a batch.
func (o *Overlay) PrefetchBatchAnswers(root wire.Bytes32, mirrors []wire.Lane) {
	keys := make([]string, len(mirrors))
	for i, mirror := range mirrors {
		keys[i] = batchAnswerKey(root, mirror)
	}
	o.Prefetch(keys)
}

// PrefetchBatch reads what locking these publications needs; their names are lawful.
func (o *Overlay) PrefetchBatch(ids []wire.Bytes32, publications []wire.Publication) {
	keys := make([]string, 0, 4*len(ids))
	for i, p := range publications {
		keys = append(keys, publicationKey(ids[i]), nonceKey(p.Publisher, p.Nonce),
			takenKey(p.Publisher, p.Name, p.Version), balanceKey(p.Publisher))
	}
	o.Prefetch(keys)
}

// PrefetchTakeOut reads what taking a publication out of a batch needs before its proof is known to be good.
func (o *Overlay) PrefetchTakeOut(id wire.Bytes32, home wire.Lane, root wire.Bytes32) {
	o.Prefetch([]string{publicationKey(id), batchKey(home, root)})
}
