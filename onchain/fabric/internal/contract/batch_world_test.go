package contract

import (
	"fmt"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// A gathered batch is what a test locks: publications of any publishers, each with its signature.
type gathered struct {
	publications []wire.Publication
	signatures   [][]byte
	ids          []wire.Bytes32
}

func (b *gathered) add(p wire.Publication, k key) {
	p.Publisher = k.address()
	id := digestOf(p)
	b.publications, b.signatures, b.ids = append(b.publications, p), append(b.signatures, k.sign(id)), append(b.ids, id)
}

// gather gives a batch by the publisher, of the names 0, 1, 2 ...
func gather(make func() wire.Publication, count int) gathered {
	var b gathered
	for i := range count {
		p := make()
		p.Name, p.Nonce = fmt.Sprint(i), word(fmt.Sprint("batch ", i))
		b.add(p, publisher)
	}
	return b
}

// sign makes ids and signatures anew, of changed publications.
func (b *gathered) sign() {
	for i, p := range b.publications {
		b.ids[i] = digestOf(p)
		b.signatures[i] = publisher.sign(b.ids[i])
	}
}

func (b gathered) root() wire.Bytes32 {
	root, err := batchRoot(b.ids)
	if err != nil {
		panic(err)
	}
	return root
}

// proof builds the tree afresh, level by level.
func (b gathered) proof(index int) wire.BatchProof {
	proof := wire.BatchProof{
		Home: b.publications[0].Home, Root: b.root(), Index: uint16(index), Siblings: []wire.Bytes32{},
	}
	var level []wire.Bytes32
	for i, id := range b.ids {
		level = append(level, wire.BatchLeaf(uint64(i), id))
	}
	for ; len(level) > 1; index /= 2 {
		if beside := index ^ 1; beside < len(level) {
			proof.Siblings = append(proof.Siblings, level[beside])
		}
		var above []wire.Bytes32
		for i := 0; i < len(level); i += 2 {
			if i+1 < len(level) {
				above = append(above, wire.NodeHash(level[i], level[i+1]))
			} else {
				above = append(above, level[i])
			}
		}
		level = above
	}
	return proof
}

func (b gathered) lockCall() []byte { return encoded("lockBatch", b.publications, b.signatures) }

func (b gathered) takeOutCall(index int) []byte {
	return encoded("takeOut", b.publications[index], b.signatures[index], b.proof(index))
}

func (w *world) lockBatch(b gathered) wire.Bytes32 {
	w.t.Helper()
	w.accept("call", b.lockCall())
	return b.root()
}

func (w *world) refuseBatch(want string, b gathered) {
	w.t.Helper()
	w.refuse(want, "call", b.lockCall())
}

func (w *world) takeOut(b gathered, index int) {
	w.t.Helper()
	w.accept("call", b.takeOutCall(index))
}

type batchView struct {
	state.Batch
	held wire.Uint128
}

func (w *world) batch(home wire.Lane, root wire.Bytes32) batchView {
	w.t.Helper()
	done := w.simulate("view", encoded("batch", home, root))
	var b batchView
	fields := []any{&b.Role, &b.State, &b.Count, &b.Taken, &b.Earliest, &b.Latest, &b.held, &b.Awaited, &b.Reason}
	if err := wire.Decode(done.Response.GetPayload(), wire.CallLimit, fields...); err != nil {
		w.t.Fatalf("batch: %s, %v", done.Response.GetMessage(), err)
	}
	return b
}

// stateIn gives role and state.
func (w *world) stateIn(id wire.Bytes32, proof wire.BatchProof) [2]uint8 {
	w.t.Helper()
	done := w.simulate("view", encoded("stateIn", id, proof))
	var seen [2]uint8
	if err := wire.Decode(done.Response.GetPayload(), wire.CallLimit, &seen[0], &seen[1]); err != nil {
		w.t.Fatalf("stateIn: %s, %v", done.Response.GetMessage(), err)
	}
	return seen
}

func (w *world) wantBatch(home wire.Lane, root wire.Bytes32, state uint8, held uint64) {
	w.t.Helper()
	if b := w.batch(home, root); b.State != state || b.held != amount(held) {
		w.t.Errorf("batch: state %d with %s, want %d with %d", b.State, b.held.Big(), state, held)
	}
}

func answeredOf(root wire.Bytes32, version uint16) wire.Event {
	return eventTo(own, wire.KindBatchAnswered, root, wire.BatchAnsweredBody{Version: version, Home: own})
}

func batchOutcomeOf(root wire.Bytes32, outcome uint8, count uint16, taken byte) wire.Event {
	return eventTo(own, wire.KindBatchOutcome, root, wire.BatchOutcomeBody{
		State: outcome, Count: count, Taken: wire.Bytes32{31: taken},
	})
}

func (w *world) repeatCall(call []byte) {
	w.t.Helper()
	requireNoWrites(w.t, w.accept("call", call))
}
