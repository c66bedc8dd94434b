package contract

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/wire"
)

// benchBatch is as long as a batch can be, by as many publishers as given; they have the money.
func benchBatch(t testing.TB, publishers int) (*world, gathered) {
	w := &world{t: t, ledger: ledgertest.New("caimi", "registry"), now: start}
	w.accept("init", wire.EncodeFields(config))
	var b gathered
	for i := range publishers {
		w.fundAccount(key(fmt.Sprint("bench ", i)), 100*maxBatch)
	}
	for i := range maxBatch {
		p := homePublication()
		p.Name, p.Nonce = fmt.Sprint("model-", i), word(fmt.Sprint("bench ", i))
		b.add(p, key(fmt.Sprint("bench ", i%publishers)))
	}
	return w, b
}

// BenchmarkLockBatch is what an endorser computes for the longest batch, without its peer.
func BenchmarkLockBatch(b *testing.B) {
	w, batch := benchBatch(b, 16)
	call := batch.lockCall()
	measured(b, func() {
		if done := w.simulate("call", call); done.Response.GetStatus() != shim.OK {
			b.Fatal(done.Response.GetMessage())
		}
	})
}

// measured runs a benchmark and reports the processor's time for one item: other programs do not count.
func measured(b *testing.B, work func()) {
	before := processorTime(b)
	for b.Loop() {
		work()
	}
	spent := processorTime(b) - before
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N*maxBatch), "cpu-µs/item")
}

func processorTime(t testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkLockBatchParts are its parts.
func BenchmarkLockBatchParts(b *testing.B) {
	_, batch := benchBatch(b, 16)
	call := batch.lockCall()
	for name, work := range map[string]func() error{
		"decode": func() error {
			var publications []wire.Publication
			var signatures [][]byte
			return decode(call[selectorSize:], &publications, &signatures)
		},
		"ids": func() error {
			for _, p := range batch.publications {
				digestOf(p)
			}
			return nil
		},
		"recover": func() error {
			for i, id := range batch.ids {
				if _, err := certificate.Recover(id, batch.signatures[i]); err != nil {
					return err
				}
			}
			return nil
		},
		"root": func() error {
			_, err := batchRoot(batch.ids)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			measured(b, func() {
				if err := work(); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
