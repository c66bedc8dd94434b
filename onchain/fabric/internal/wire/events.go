package wire

// Kinds of events that registries make or read (spec 10 §5); the others are carried and ignored.
const (
	KindLocked        uint16 = 1
	KindRefused       uint16 = 2
	KindOutcome       uint16 = 3
	KindSuperseded    uint16 = 4
	KindRequested     uint16 = 5
	KindAnswered      uint16 = 6
	KindRevoked       uint16 = 7
	KindSetChange     uint16 = 11
	KindSetRetired    uint16 = 12
	KindGovernance    uint16 = 15
	KindBatchLocked   uint16 = 16
	KindBatchAnswered uint16 = 17
	KindBatchOutcome  uint16 = 18
	KindSetEntered    uint16 = 19
)

// Schema is the version of event bodies.
const Schema uint16 = 1

// LockedBody is LOCKED's.
type LockedBody struct {
	Role uint8
	Home Lane
}

// RefusedBody is REFUSED's.
type RefusedBody struct {
	Code uint16
	Home Lane
}

// OutcomeBody is OUTCOME's.
type OutcomeBody struct {
	State  uint8
	Reason uint16
}

// SupersededBody is SUPERSEDED's.
type SupersededBody struct{ ByVersion uint64 }

// RequestedBody is REQUESTED's.
type RequestedBody struct {
	Request         Bytes32
	Consumer        Address
	Input           Cid
	InputCommitment Bytes32
	ClientKey       Bytes32
	Deadline        uint64
}

// AnsweredBody is ANSWERED's.
type AnsweredBody struct {
	Request     Bytes32
	ReceiptHash Bytes32
	Output      Cid
}

// RevokedBody is REVOKED's: the publisher's reason and the registry that took the signature.
type RevokedBody struct {
	Reason uint16
	At     Lane
}

// GovernanceBody is GOVERNANCE's.
type GovernanceBody struct {
	Action     uint8
	Lane       Lane
	Version    uint64
	Generation uint64
	Height     uint64
	BlockHash  Bytes32
}

// BatchLockedBody is BATCH_LOCKED's.
type BatchLockedBody struct{ Count uint16 }

// BatchAnsweredBody is BATCH_ANSWERED's: the version of the mirror's rules, and the home it will follow.
type BatchAnsweredBody struct {
	Version uint16
	Home    Lane
}

// BatchOutcomeBody is BATCH_OUTCOME's; Taken is a number of 256 bits, one for each publication.
type BatchOutcomeBody struct {
	State  uint8
	Reason uint16
	Count  uint16
	Taken  Bytes32
}

// SetChangeBody is SET_CHANGE's: the epoch that ends and the one that begins.
type SetChangeBody struct{ Ends, Begins uint64 }

// SetRetiredBody is SET_RETIRED's: the epoch whose set counts no more.
type SetRetiredBody struct{ Epoch uint64 }

// SetEnteredBody is SET_ENTERED's: the epoch that a registry is in now.
type SetEnteredBody struct{ Epoch uint64 }

// DecodeBody reads an event's body; bodies are static, so that the struct and its fields have one encoding (BadBody).
func DecodeBody(body []byte, into any) error {
	if Decode(body, BodyLimit, into) != nil {
		return BadBody.With()
	}
	return nil
}

// Selector is the first 4 bytes of keccak256 of a function's canonical signature.
func Selector(name string, prototypes ...any) [4]byte {
	signature := Keccak256([]byte(name + SignatureOf(prototypes...)))
	return [4]byte(signature[:4])
}
