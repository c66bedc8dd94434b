package wire

import "bytes"

// The records of spec 10 §3. The order of fields is the wire order; a field's wire name begins with a small letter.

// Lane is one (chain, registry) as a source of events.
type Lane struct {
	Chain    Bytes32
	Registry Bytes32
}

// Compare orders lanes by chain, then registry.
func (l Lane) Compare(m Lane) int {
	if c := bytes.Compare(l.Chain[:], m.Chain[:]); c != 0 {
		return c
	}
	return bytes.Compare(l.Registry[:], m.Registry[:])
}

// Cid is a CIDv1 with sha2-256.
type Cid struct {
	Codec  uint8
	Digest Bytes32
}

// Terms are price terms; only the zero value is accepted.
type Terms struct {
	Currency Bytes32
	Unit     uint8
	Price    Uint128
}

// Publication is one version of one model or dataset, as its publisher signs it.
type Publication struct {
	Format             uint16
	Kind               uint8
	Publisher          Address
	Name               string
	Version            uint64
	Ciphertext         Cid
	CapsuleHash        Bytes32
	ManifestCommitment Bytes32
	PolicyHash         Bytes32
	Home               Lane
	Mirrors            []Lane
	Terms              Terms
	Deposit            Uint128
	Nonce              Bytes32
	Deadline           uint64
	ExtensionHash      Bytes32
}

// Withdrawal moves balance of an account out to a recipient's tokens.
type Withdrawal struct {
	At        Lane
	Account   Address
	Recipient Address
	Amount    Uint128
	Nonce     Bytes32
	Deadline  uint64
}

// Revocation is a publisher's word that takes a publication back for ever. Nobody looks at the reason.
type Revocation struct {
	At          Lane
	Publication Bytes32
	Publisher   Address
	Reason      uint16
	Nonce       Bytes32
	Deadline    uint64
}

// Pause stops what a registry begins; validators of the present set sign it.
type Pause struct {
	At      Lane
	Epoch   uint64
	Counter uint64
}

// Resume ends a pause.
type Resume struct {
	At      Lane
	Epoch   uint64
	Counter uint64
}

// Governance is a quorum's decision about a lane, recorded at the root registry.
type Governance struct {
	At         Lane
	Epoch      uint64
	Action     uint8
	Lane       Lane
	Version    uint64
	Generation uint64
	Height     uint64
	BlockHash  Bytes32
}

// Funding moves tokens of an account into its balance.
type Funding struct {
	At       Lane
	Account  Address
	Amount   Uint128
	Nonce    Bytes32
	Deadline uint64
}

// Mint is the token issuer's word that an account gets tokens.
type Mint struct {
	At       Lane
	Account  Address
	Amount   Uint128
	Nonce    Bytes32
	Deadline uint64
}

// EpochSet holds the validators of one epoch; its hashStruct is the set hash that events carry.
type EpochSet struct {
	Epoch      uint64
	Validators []Address
	F          uint8
	T          uint8
	Transcript Bytes32
}

// SetChange hands over from the set of an epoch to the next.
type SetChange struct {
	At    Lane
	Epoch uint64
	Next  EpochSet
	Lanes []Lane
}

// SetProposal names the recipients of a resharing.
type SetProposal struct {
	At    Lane
	Epoch uint64
	Next  EpochSet
}

// InferenceRequest asks for one answer by the registry path.
type InferenceRequest struct {
	At              Lane
	Publication     Bytes32
	Consumer        Address
	Input           Cid
	InputCommitment Bytes32
	ClientKey       Bytes32
	Nonce           Bytes32
	Deadline        uint64
}

// HostKey holds the keys of one start of a host, signed by an operator.
type HostKey struct {
	SealingKey Bytes32
	SigningKey Address
	Epoch      uint64
	Until      uint64
}

// Answer is a host's signed result of one request.
type Answer struct {
	At               Lane
	Request          Bytes32
	Publication      Bytes32
	Lease            Bytes32
	Output           Cid
	InputCommitment  Bytes32
	OutputCommitment Bytes32
	ReceiptHash      Bytes32
	AnsweredAt       uint64
}

// LeaseRequest asks the board for a lease on one publication's key.
type LeaseRequest struct {
	At          Lane
	Publication Bytes32
	SealingKey  Bytes32
	SigningKey  Address
	Epoch       uint64
	Purpose     uint8
	Opening     Bytes32
	End         uint64
	Calls       uint32
	Nonce       Bytes32
	Deadline    uint64
}

// PartialPost names a sealed partial that a validator puts into the private collection.
type PartialPost struct {
	At         Lane
	Lease      Bytes32
	Index      uint8
	SealedHash Bytes32
}

// BoardPost is one message of a key generation.
type BoardPost struct {
	At       Lane
	Epoch    uint64
	Phase    uint8
	Index    uint8
	BodyHash Bytes32
}

// Event is what happened at a registry.
type Event struct {
	Schema       uint16
	Kind         uint16
	Destinations []Lane
	Subject      Bytes32
	Body         []byte
}

// Item is an event with its sequence number.
type Item struct {
	Sequence uint64
	Event    Event
}

// Checkpoint is what validators sign.
type Checkpoint struct {
	Source        Lane
	Generation    uint64
	Epoch         uint64
	FirstSequence uint64
	LastSequence  uint64
	Root          Bytes32
	Height        uint64
	BlockHash     Bytes32
}

// Signature is one validator's.
type Signature struct {
	Signer uint8
	V      uint8
	R      Bytes32
	S      Bytes32
}

// Certificate is a checkpoint with a quorum's signatures.
type Certificate struct {
	Checkpoint Checkpoint
	Signatures []Signature
}

// BatchProof shows that a publication is in a batch (spec 37 §1).
type BatchProof struct {
	Home     Lane
	Root     Bytes32
	Index    uint16
	Siblings []Bytes32
}

// Genesis is the descriptor whose hash is the network id.
type Genesis struct {
	RootGenesis Bytes32
	Validators  []Address
	F           uint8
	T           uint8
	Operators   []Address
	Attestation uint8
	Nonce       Bytes32
}
