// Command chaincode is the CAIMI registry, launched by a peer: `chaincode run DIR`, where DIR holds the chaincode.json
// that an external builder's run step gets.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/contract"
)

// What the peer writes for the run step.
type launch struct {
	ID         string `json:"chaincode_id"`
	Peer       string `json:"peer_address"`
	ClientCert string `json:"client_cert"`
	ClientKey  string `json:"client_key"`
	RootCert   string `json:"root_cert"`
	MSP        string `json:"mspid"`
}

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "caimi chaincode:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 || arguments[1] != "run" {
		return fmt.Errorf("usage: %s run DIR", filepath.Base(arguments[0]))
	}
	if err := prepare(arguments[2]); err != nil {
		return err
	}
	return shim.Start(&contract.Chaincode{Clock: time.Now})
}

// prepare gives the shim what it reads: environment, key files and the flag -peer.address.
func prepare(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "chaincode.json"))
	if err != nil {
		return err
	}
	var l launch
	if err := json.Unmarshal(data, &l); err != nil {
		return fmt.Errorf("chaincode.json: %w", err)
	}
	if l.ID == "" || l.Peer == "" {
		return fmt.Errorf("chaincode.json: chaincode_id or peer_address is missing")
	}
	settings := map[string]string{
		"CORE_CHAINCODE_ID_NAME": l.ID, "CORE_PEER_LOCALMSPID": l.MSP, "CORE_PEER_TLS_ENABLED": "false",
	}
	if l.RootCert != "" {
		settings["CORE_PEER_TLS_ENABLED"] = "true"
		for name, file := range map[string]struct{ path, text string }{
			"CORE_PEER_TLS_ROOTCERT_FILE": {"root.pem", l.RootCert},
			"CORE_TLS_CLIENT_CERT_FILE":   {"cert.pem", l.ClientCert},
			"CORE_TLS_CLIENT_KEY_FILE":    {"key.pem", l.ClientKey},
		} {
			settings[name] = filepath.Join(dir, file.path)
			if err := os.WriteFile(settings[name], []byte(file.text), 0o600); err != nil {
				return err
			}
		}
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	os.Args = []string{os.Args[0], "-peer.address", l.Peer}
	return nil
}
