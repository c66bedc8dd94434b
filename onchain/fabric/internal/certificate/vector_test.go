package certificate_test

import (
	"errors"
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/vectortest"
	"caimi.local/onchain/fabric/internal/wire"
)

type certificateCase struct {
	TcID           int
	Comment, Error string
	Certificate    vectortest.Hex
	Signer         *int
}

func TestCertificateVectors(t *testing.T) {
	var suite struct {
		Network, Genesis vectortest.Hex
		Epoch            uint64
		Cases, Refusals  []certificateCase
	}
	vectortest.Read(t, "certificate/quorum.json", &suite)
	var genesis wire.Genesis
	if err := wire.Decode(suite.Genesis, wire.CallLimit, &genesis); err != nil {
		t.Fatal(err)
	}
	if err := certificate.CheckGenesis(genesis); err != nil {
		t.Fatal(err)
	}
	if wire.NetworkID(genesis) != suite.Network.Word(t) {
		t.Fatal("another network id")
	}
	for _, c := range append(suite.Cases, suite.Refusals...) {
		t.Run(fmt.Sprintf("%d: %s", c.TcID, c.Comment), func(t *testing.T) {
			var signed wire.Certificate
			if err := wire.Decode(c.Certificate, wire.CallLimit, &signed); err != nil {
				t.Fatal(err)
			}
			err := certificate.Verify(signed, suite.Network.Word(t), genesis.Validators, genesis.F, suite.Epoch)
			if c.Error == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var refusal *wire.Refusal
			if !errors.As(err, &refusal) || refusal.Code.Name != c.Error {
				t.Fatalf("got %v, want %s", err, c.Error)
			}
			culprit, named := refusal.Values, c.Signer != nil
			switch c.Error {
			case "UnknownSigner", "DuplicateSigner", "UnsortedSigners":
				if !named || culprit[0] != *c.Signer {
					t.Fatalf("culprit %v, want %v", culprit, *c.Signer)
				}
			case "WrongSigner":
				if !named || culprit[0] != genesis.Validators[*c.Signer] {
					t.Fatalf("culprit %v, want %s", culprit, genesis.Validators[*c.Signer].Hex())
				}
			}
		})
	}
}
