package certificate

import "caimi.local/onchain/fabric/internal/wire"

const maxRun = 1024

// CheckRun checks that the items are events of the certified range: ZeroRoot, EmptyRun, RunTooLong, ItemOutOfRun,
// ProofTooShort, ProofTooLong, WrongRoot, in this order.
func CheckRun(checkpoint wire.Checkpoint, items []wire.Item, proof []wire.Bytes32) error {
	if checkpoint.Root.IsZero() {
		return wire.ZeroRoot.With()
	}
	first, last := checkpoint.FirstSequence, checkpoint.LastSequence
	if first < 1 || last < first || len(items) == 0 {
		return wire.EmptyRun.With()
	}
	width := last - first + 1
	if width > maxRun {
		return wire.RunTooLong.With(maxRun, width)
	}
	before := first - 1
	for _, item := range items {
		if item.Sequence <= before || item.Sequence > last {
			return wire.ItemOutOfRun.With(item.Sequence)
		}
		before = item.Sequence
	}
	leaves, indices := make([]wire.Bytes32, len(items)), make([]uint64, len(items))
	for i, item := range items {
		leaves[i] = wire.LeafHash(checkpoint.Source, item)
		indices[i] = item.Sequence - first
	}
	root, err := wire.MultiproofRoot(width, indices, leaves, proof)
	if err != nil {
		return err
	}
	if root != checkpoint.Root {
		return wire.WrongRoot.With(checkpoint.Root, root)
	}
	return nil
}
