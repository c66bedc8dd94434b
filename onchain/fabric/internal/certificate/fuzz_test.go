package certificate_test

import (
	"bytes"
	"errors"
	"testing"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/fuzztest"
	"caimi.local/onchain/fabric/internal/vectortest"
	"caimi.local/onchain/fabric/internal/wire"
)

func FuzzCertificate(f *testing.F) {
	var suite struct {
		Network, Genesis vectortest.Hex
		Epoch            uint64
		Cases, Refusals  []certificateCase
	}
	vectortest.Read(f, "certificate/quorum.json", &suite)
	for _, c := range append(suite.Cases, suite.Refusals...) {
		f.Add([]byte(c.Certificate))
	}
	var genesis wire.Genesis
	if err := wire.Decode(suite.Genesis, wire.CallLimit, &genesis); err != nil {
		f.Fatal(err)
	}
	network := suite.Network.Word(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bounded(t, func() {
			var signed wire.Certificate
			err := wire.Decode(data, wire.CallLimit, &signed)
			if err == nil {
				if again := wire.Encode(signed); !bytes.Equal(again, data) {
					t.Fatalf("accepted %x, which encodes to %x", data, again)
				}
				err = certificate.Verify(signed, network, genesis.Validators, genesis.F, suite.Epoch)
			}
			var refusal *wire.Refusal
			if err != nil && !errors.As(err, &refusal) {
				t.Fatalf("refused with %v", err)
			}
		})
	})
}
