package contract

import (
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// invokedChaincode is the chaincode that the client's signed proposal names. When another chaincode calls this one, it is
// that other's name.
func invokedChaincode(stub shim.ChaincodeStubInterface) (string, error) {
	signed, err := stub.GetSignedProposal()
	if err != nil {
		return "", fmt.Errorf("ledger: signed proposal: %w", err)
	}
	var proposal peer.Proposal
	var header common.Header
	var channel common.ChannelHeader
	var extension peer.ChaincodeHeaderExtension
	for _, part := range []struct {
		bytes func() []byte
		into  proto.Message
	}{
		{signed.GetProposalBytes, &proposal},
		{proposal.GetHeader, &header},
		{header.GetChannelHeader, &channel},
		{channel.GetExtension, &extension},
	} {
		if err := proto.Unmarshal(part.bytes(), part.into); err != nil {
			return "", fmt.Errorf("ledger: signed proposal: %w", err)
		}
	}
	return extension.GetChaincodeId().GetName(), nil
}
