// Package vectortest reads the vectors that all languages share (vectors/README.md). It never writes them.
package vectortest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

// Hex is 0x text as bytes.
type Hex []byte

// UnmarshalText reads 0x and hex digits.
func (h *Hex) UnmarshalText(text []byte) error {
	data, err := hex.DecodeString(strings.TrimPrefix(string(text), "0x"))
	*h = data
	return err
}

// Word gives 32 bytes; shorter or longer text fails the test that reads it.
func (h Hex) Word(t testing.TB) wire.Bytes32 {
	t.Helper()
	if len(h) != 32 {
		t.Fatalf("%d bytes, want 32", len(h))
	}
	return wire.Bytes32(h)
}

// Read parses one suite, whose sha256 has to be the manifest's. CAIMI_VECTORS names another folder than the repository's.
func Read(t testing.TB, name string, into any) {
	t.Helper()
	folder := os.Getenv("CAIMI_VECTORS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "vectors")
	}
	data := read(t, filepath.Join(folder, filepath.FromSlash(name)))
	var manifest struct {
		Suites []struct{ Suite, SHA256 string }
	}
	if err := json.Unmarshal(read(t, filepath.Join(folder, "manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	for _, listed := range manifest.Suites {
		if listed.Suite == name && listed.SHA256 == hex.EncodeToString(sum[:]) {
			if err := json.Unmarshal(data, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s is not the file that the manifest names", name)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
