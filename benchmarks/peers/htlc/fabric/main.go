// Command htlc is the peer of the benchmarks on Fabric, launched by a peer: `htlc run DIR`.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "htlc:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 || arguments[1] != "run" {
		return fmt.Errorf("usage: %s run DIR", filepath.Base(arguments[0]))
	}
	address, err := prepare(arguments[2])
	if err != nil {
		return err
	}
	os.Args = []string{os.Args[0], "-peer.address", address}
	return shim.Start(htlc{})
}

// prepare gives the shim what it reads, from the chaincode.json that the peer writes for an external builder.
func prepare(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "chaincode.json"))
	if err != nil {
		return "", err
	}
	var launch map[string]string
	if err := json.Unmarshal(data, &launch); err != nil {
		return "", fmt.Errorf("chaincode.json: %w", err)
	}
	settings := map[string]string{
		"CORE_CHAINCODE_ID_NAME": launch["chaincode_id"],
		"CORE_PEER_LOCALMSPID":   launch["mspid"],
		"CORE_PEER_TLS_ENABLED":  fmt.Sprint(launch["root_cert"] != ""),
	}
	for name, field := range map[string]string{
		"CORE_PEER_TLS_ROOTCERT_FILE": "root_cert",
		"CORE_TLS_CLIENT_CERT_FILE":   "client_cert",
		"CORE_TLS_CLIENT_KEY_FILE":    "client_key",
	} {
		settings[name] = filepath.Join(dir, field+".pem")
		if err := os.WriteFile(settings[name], []byte(launch[field]), 0o600); err != nil {
			return "", err
		}
	}
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	return launch["peer_address"], nil
}
