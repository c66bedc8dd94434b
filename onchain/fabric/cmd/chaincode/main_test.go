package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// launchFolder holds a chaincode.json and restores what prepare changes.
func launchFolder(t *testing.T, text string) string {
	t.Helper()
	for _, name := range []string{
		"CORE_CHAINCODE_ID_NAME", "CORE_PEER_LOCALMSPID", "CORE_PEER_TLS_ENABLED", "CORE_PEER_TLS_ROOTCERT_FILE",
		"CORE_TLS_CLIENT_CERT_FILE", "CORE_TLS_CLIENT_KEY_FILE",
	} {
		t.Setenv(name, "")
	}
	arguments := os.Args
	t.Cleanup(func() { os.Args = arguments })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chaincode.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPrepare(t *testing.T) {
	dir := launchFolder(t, `{"chaincode_id":"caimi:1","peer_address":"127.0.0.1:7052","client_cert":"C","client_key":"K",
		"root_cert":"R","mspid":"Org1MSP"}`)
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CORE_CHAINCODE_ID_NAME") != "caimi:1" || os.Getenv("CORE_PEER_TLS_ENABLED") != "true" {
		t.Error("the environment is not the shim's")
	}
	for name, want := range map[string]string{
		"CORE_PEER_TLS_ROOTCERT_FILE": "R", "CORE_TLS_CLIENT_CERT_FILE": "C", "CORE_TLS_CLIENT_KEY_FILE": "K",
	} {
		info, err := os.Stat(os.Getenv(name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(os.Getenv(name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if !slices.Equal(os.Args[1:], []string{"-peer.address", "127.0.0.1:7052"}) {
		t.Errorf("arguments %q", os.Args)
	}
}

func TestPrepareWithoutTLS(t *testing.T) {
	dir := launchFolder(t, `{"chaincode_id":"caimi:1","peer_address":"127.0.0.1:7052"}`)
	if err := prepare(dir); err != nil || os.Getenv("CORE_PEER_TLS_ENABLED") != "false" {
		t.Errorf("%v, TLS %q", err, os.Getenv("CORE_PEER_TLS_ENABLED"))
	}
}

func TestRejectsBadLaunch(t *testing.T) {
	for _, text := range []string{``, `[]`, `{}`, `{"chaincode_id":"caimi:1"}`, `{"peer_address":"127.0.0.1:7052"}`} {
		if err := prepare(launchFolder(t, text)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
	if err := prepare(t.TempDir()); err == nil {
		t.Error("an empty folder is accepted")
	}
	for _, arguments := range [][]string{{"chaincode"}, {"chaincode", "run"}, {"chaincode", "walk", "x"}, {"chaincode", "run", "x", "y"}} {
		if err := run(arguments); err == nil {
			t.Errorf("%q: accepted", arguments)
		}
	}
}
