package wire_test

import (
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

// A hasher that remembers gives what one that knows nothing gives, also once it has no room left.
func TestTypedHasherForgetsNothingThatDiffers(t *testing.T) {
	network := wire.Keccak256([]byte("network"))
	hasher := wire.NewTypedHasher(network)
	seen := map[wire.Bytes32]bool{}
	for round := range 2 {
		for i := range byte(100) {
			lane := wire.Lane{Chain: wire.Bytes32{i}, Registry: wire.Bytes32{31: i}}
			p := wire.Publication{
				Name: "name", Home: lane, Mirrors: make([]wire.Lane, i%9), Terms: wire.Terms{Unit: i},
				Ciphertext: wire.Cid{Codec: i},
			}
			for j := range p.Mirrors {
				p.Mirrors[j] = wire.Lane{Chain: wire.Bytes32{i}, Registry: wire.Bytes32{byte(j)}}
			}
			id := hasher.Digest(p)
			if id != wire.TypedDigest(network, p) {
				t.Fatalf("round %d, record %d: another digest", round, i)
			}
			if seen[id] != (round == 1) {
				t.Fatalf("round %d, record %d: the digest of another record", round, i)
			}
			seen[id] = true
			if pause := (wire.Pause{At: lane, Counter: uint64(i)}); hasher.Digest(pause) != wire.TypedDigest(network, pause) {
				t.Fatalf("record %d: another digest of another kind", i)
			}
		}
	}
	if other := wire.NewTypedHasher(wire.Bytes32{}); other.Digest(wire.Pause{}) == hasher.Digest(wire.Pause{}) {
		t.Error("two networks share a digest")
	}
}
