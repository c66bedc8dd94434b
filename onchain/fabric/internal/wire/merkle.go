package wire

// NodeHash is keccak256(0x01 || left || right).
func NodeHash(left, right Bytes32) Bytes32 { return Keccak256([]byte{1}, left[:], right[:]) }

type node struct {
	index uint64
	hash  Bytes32
}

// MultiproofRoot is the root of a tree of `width` leaves, of which those at `indices` are given (spec 20 §2).
// The proof has to be used up exactly: EmptyRun, ItemOutOfRun, ProofTooShort, ProofTooLong.
func MultiproofRoot(width uint64, indices []uint64, leaves, proof []Bytes32) (Bytes32, error) {
	if len(leaves) == 0 || len(leaves) != len(indices) {
		return Bytes32{}, EmptyRun.With()
	}
	level := make([]node, len(leaves))
	for i, index := range indices {
		if index >= width || (i > 0 && index <= indices[i-1]) {
			return Bytes32{}, ItemOutOfRun.With(index)
		}
		level[i] = node{index, leaves[i]}
	}
	for ; width > 1; width = (width + 1) / 2 {
		var ok bool
		if level, proof, ok = climb(width, level, proof); !ok {
			return Bytes32{}, ProofTooShort.With()
		}
	}
	if len(proof) != 0 {
		return Bytes32{}, ProofTooLong.With()
	}
	return level[0].hash, nil
}

// climb gives the known nodes one level up and the rest of the proof.
func climb(width uint64, level []node, proof []Bytes32) ([]node, []Bytes32, bool) {
	above := make([]node, 0, len(level))
	for i := 0; i < len(level); i++ {
		n := level[i]
		switch {
		case n.index^1 >= width: // an odd last node moves up unchanged
		case n.index%2 == 0 && i+1 < len(level) && level[i+1].index == n.index+1:
			i++
			n.hash = NodeHash(n.hash, level[i].hash)
		case len(proof) == 0:
			return nil, nil, false
		case n.index%2 == 0:
			n.hash, proof = NodeHash(n.hash, proof[0]), proof[1:]
		default:
			n.hash, proof = NodeHash(proof[0], n.hash), proof[1:]
		}
		above = append(above, node{n.index / 2, n.hash})
	}
	return above, proof, true
}
