// Blocks as a peer has them, by Fabric's SDK and its system chaincode `qscc`.

import { common, msp, peer } from '@hyperledger/fabric-protos';
import { channelName, gateway } from '../../lib/network.mjs';

export function chain(org) {
    const connected = gateway(org);
    const qscc = connected.getNetwork(channelName).getContract('qscc');
    const ask = (call, ...args) => qscc.evaluate(call, { arguments: [channelName, ...args] });
    return {
        async holding(transaction) {
            return common.Block.deserializeBinary(await ask('GetBlockByTxID', transaction));
        },
        async height() {
            return Number(common.BlockchainInfo.deserializeBinary(await ask('GetChainInfo')).getHeight());
        },
        close: () => connected.close(),
    };
}

const mspOf = (bytes) => msp.SerializedIdentity.deserializeBinary(bytes).getMspid();

// What a block says about one of its transactions.
export function transaction(block, id) {
    const envelopes = block.getData().getDataList_asU8();
    const flags = block.getMetadata().getMetadataList_asU8()[common.BlockMetadataIndex.TRANSACTIONS_FILTER];
    for (const [place, bytes] of envelopes.entries()) {
        const payload = common.Payload.deserializeBinary(common.Envelope.deserializeBinary(bytes).getPayload_asU8());
        const header = common.ChannelHeader.deserializeBinary(payload.getHeader().getChannelHeader_asU8());
        if (header.getTxId() !== id) continue;
        const signature = common.SignatureHeader.deserializeBinary(payload.getHeader().getSignatureHeader_asU8());
        const [action] = peer.Transaction.deserializeBinary(payload.getData_asU8()).getActionsList();
        const endorsed = peer.ChaincodeActionPayload.deserializeBinary(action.getPayload_asU8());
        return {
            block: Number(block.getHeader().getNumber()),
            channel: header.getChannelId(),
            seconds: header.getTimestamp().getSeconds(),
            author: mspOf(signature.getCreator_asU8()),
            verifiers: endorsed.getAction().getEndorsementsList().map((endorsement) => mspOf(endorsement.getEndorser_asU8())),
            code: flags[place],
            bytes,
        };
    }
    throw new Error(`the block has no transaction ${id}`);
}
