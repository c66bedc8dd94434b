package state

import (
	"fmt"
	"testing"

	"caimi.local/onchain/fabric/internal/wire"
)

// What a ledger holds is found again by every later version of the chaincode: keys never change.
func TestKeys(t *testing.T) {
	id, account := wire.Keccak256([]byte("id")), wire.Address{1, 2}
	lane := wire.Lane{Chain: id, Registry: wire.Keccak256([]byte("registry"))}
	hash := wire.LaneHash(lane)
	for actual, want := range map[string]string{
		laneKey(lane):                 fmt.Sprintf("lane/%x", hash),
		withdrawnKey(3):               "withdrawn/3",
		leasesKey(3, id, account):     fmt.Sprintf("leases/3/%x/%x", id, account),
		publicationKey(id):            fmt.Sprintf("publication/%x", id),
		answerKey(id, lane):           fmt.Sprintf("answer/%x/%x", id, hash),
		outcomeKey(id, lane):          fmt.Sprintf("outcome/%x/%x", id, hash),
		revocationKey(id, lane):       fmt.Sprintf("revocation/%x/%x", id, hash),
		markKey(id, 3, 1<<63):         fmt.Sprintf("mark/%x/3/9223372036854775808", id),
		nonceKey(account, id):         fmt.Sprintf("nonce/%x/%x", account, id),
		takenKey(account, "a.b-c", 7): fmt.Sprintf("name/%x/a.b-c/7", account),
		latestKey(account, "a.b-c"):   fmt.Sprintf("latest/%x/a.b-c", account),
		balanceKey(account):           fmt.Sprintf("balance/%x", account),
		tokensKey(account):            fmt.Sprintf("tokens/%x", account),
		requestKey(id):                fmt.Sprintf("request/%x", id),
		receiptKey(id):                fmt.Sprintf("receipt/%x", id),
		leaseKey(id):                  fmt.Sprintf("lease/%x", id),
		partialKey(id, 255):           fmt.Sprintf("partial/%x/255", id),
		postKey(3, 5, 255):            "post/3/5/255",
		batchKey(lane, id):            fmt.Sprintf("batch/%x/%x", hash, id),
		batchAnswerKey(id, lane):      fmt.Sprintf("batchanswer/%x/%x", id, hash),
		movedKey(id, 255):             fmt.Sprintf("moved/%x/255", id),
	} {
		if actual != want {
			t.Errorf("%s, want %s", actual, want)
		}
	}
}
