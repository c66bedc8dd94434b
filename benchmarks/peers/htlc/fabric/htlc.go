package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/crypto/sha3"
)

// States of a lock, as in Htlc.sol.
const (
	locked   byte = 1
	claimed  byte = 2
	refunded byte = 3
)

var (
	errKnown        = errors.New("Known: this publication is locked already")
	errBadSignature = errors.New("BadSignature: the publisher did not sign this publication")
	errNotLocked    = errors.New("NotLocked: nothing is locked under this id")
	errPreimage     = errors.New("WrongPreimage: this is not the secret")
	errExpired      = errors.New("Expired: its time is over")
	errNotExpired   = errors.New("NotExpired: its time is not over")
	errArguments    = errors.New("BadArguments: lock, claim, refund or state")
)

// htlc is one leg of a hash time-locked publication. It moves no deposit, which is in its favour.
type htlc struct{}

// A record is state u8, expiry u64be, publisher 20 bytes, hashlock 32 bytes.
const recordLength = 1 + 8 + 20 + 32

func (htlc) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (htlc) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	answer, err := invoke(stub)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(answer)
}

func invoke(stub shim.ChaincodeStubInterface) ([]byte, error) {
	arguments := stub.GetArgs()
	if len(arguments) < 2 {
		return nil, errArguments
	}
	switch function, rest := string(arguments[0]), arguments[1:]; {
	case function == "lock" && len(rest) == 4:
		return nil, lock(stub, rest[0], rest[1], rest[2], rest[3])
	case function == "claim" && len(rest) == 2:
		return nil, settle(stub, rest[0], rest[1], claimed)
	case function == "refund" && len(rest) == 1:
		return nil, settle(stub, rest[0], nil, refunded)
	case function == "state" && len(rest) == 1:
		return stub.GetState(key(rest[0]))
	}
	return nil, errArguments
}

func lock(stub shim.ChaincodeStubInterface, publication, signature, hashlock, expiry []byte) error {
	if len(publication) < 20 || len(hashlock) != 32 || len(expiry) != 8 {
		return errArguments
	}
	id := keccak(publication)
	known, err := stub.GetState(key(id))
	if err != nil {
		return err
	}
	if known != nil {
		return errKnown
	}
	signer, err := recoverSigner(id, signature)
	if err != nil || !bytes.Equal(signer, publication[:20]) {
		return errBadSignature
	}
	record := append(append(append([]byte{locked}, expiry...), signer...), hashlock...)
	return store(stub, id, record, nil)
}

func settle(stub shim.ChaincodeStubInterface, id, preimage []byte, to byte) error {
	record, err := stub.GetState(key(id))
	if err != nil {
		return err
	}
	if len(record) != recordLength || record[0] != locked {
		return errNotLocked
	}
	at, err := stub.GetTxTimestamp()
	if err != nil {
		return err
	}
	isOver := uint64(at.GetSeconds()) > binary.BigEndian.Uint64(record[1:9])
	if to == refunded && !isOver {
		return errNotExpired
	}
	if to == claimed {
		if hash := sha256.Sum256(preimage); !bytes.Equal(hash[:], record[29:]) {
			return errPreimage
		}
		if isOver {
			return errExpired
		}
	}
	return store(stub, id, append([]byte{to}, record[1:]...), preimage)
}

func store(stub shim.ChaincodeStubInterface, id, record, preimage []byte) error {
	if err := stub.PutState(key(id), record); err != nil {
		return err
	}
	return stub.SetEvent("htlc", append(append([]byte{record[0]}, id...), preimage...))
}

func key(id []byte) string { return fmt.Sprintf("lock/%x", id) }

func keccak(data []byte) []byte {
	hash := sha3.NewLegacyKeccak256()
	hash.Write(data)
	return hash.Sum(nil)
}

func recoverSigner(digest, signature []byte) ([]byte, error) {
	if len(signature) != 65 {
		return nil, errBadSignature
	}
	public, _, err := ecdsa.RecoverCompact(append([]byte{signature[64]}, signature[:64]...), digest)
	if err != nil {
		return nil, err
	}
	return keccak(public.SerializeUncompressed()[1:])[12:], nil
}
