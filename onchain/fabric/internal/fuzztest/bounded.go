// Package fuzztest holds cases of a search to bounds of time and memory.
package fuzztest

import (
	"runtime/metrics"
	"testing"
	"time"
)

const (
	// MostTime is how long one case may take: far above any sound one, also on a busy machine.
	MostTime = 10 * time.Second
	// MostMemory is how many bytes one case may allocate, freed ones too.
	MostMemory = 64 << 20

	allocated = "/gc/heap/allocs:bytes"
)

// Bounded runs one case.
func Bounded(t testing.TB, work func()) {
	t.Helper()
	began, before := time.Now(), allocations()
	work()
	if took := time.Since(began); took > MostTime {
		t.Fatalf("the case took %s", took)
	}
	if grown := allocations() - before; grown > MostMemory {
		t.Fatalf("the case allocated %d bytes", grown)
	}
}

func allocations() uint64 {
	sample := []metrics.Sample{{Name: allocated}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
