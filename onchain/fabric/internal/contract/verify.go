package contract

import (
	"runtime"
	"sync"
	"sync/atomic"

	"caimi.local/onchain/fabric/internal/wire"
)

// verifyPublishers gives the ids, BatchItem of the first that its publisher did not sign. All processors share the work,
// which is most of a batch's; its result does not depend on their order.
func (r *registry) verifyPublishers(publications []wire.Publication, signatures [][]byte) ([]wire.Bytes32, error) {
	count := len(publications)
	ids, failures := make([]wire.Bytes32, count), make([]error, count)
	var next, stop atomic.Int64
	stop.Store(int64(count))
	work := func() {
		hasher := wire.NewTypedHasher(r.network)
		// Places are given out in order: whatever stands before one that failed is looked at, and nothing more behind it.
		for i := next.Add(1) - 1; i < stop.Load(); i = next.Add(1) - 1 {
			ids[i] = hasher.Digest(publications[i])
			failures[i] = verifySigner(ids[i], signatures[i], publications[i].Publisher)
			if failures[i] != nil {
				lower(&stop, i)
			}
		}
	}
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), count) - 1 {
		group.Go(work)
	}
	work()
	group.Wait()
	for i, err := range failures {
		if err != nil {
			return nil, ofItem(i, err)
		}
	}
	return ids, nil
}

func lower(bound *atomic.Int64, to int64) {
	for now := bound.Load(); to < now && !bound.CompareAndSwap(now, to); now = bound.Load() {
	}
}
