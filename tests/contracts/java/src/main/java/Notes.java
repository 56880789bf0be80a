import org.hyperledger.fabric.metrics.Metrics;
import org.hyperledger.fabric.shim.ChaincodeBase;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.hyperledger.fabric.shim.NettyChaincodeServer;
import org.hyperledger.fabric.traces.Traces;

/** A contract on Fabric's Java shim, as short as one can be. */
public final class Notes extends ChaincodeBase {
    @Override
    public Response init(final ChaincodeStub stub) {
        return newSuccessResponse();
    }

    @Override
    public Response invoke(final ChaincodeStub stub) {
        final var args = stub.getParameters();
        if (stub.getFunction().equals("put") && args.size() == 2) {
            stub.putStringState(args.get(0), args.get(1));
            return newSuccessResponse();
        }
        if (stub.getFunction().equals("get") && args.size() == 1) {
            return newSuccessResponse(stub.getState(args.get(0)));
        }
        return newErrorResponse("put ID TEXT, or get ID");
    }

    /** Serves the peers at CHAINCODE_SERVER_ADDRESS; CORE_CHAINCODE_ID_NAME is the package id. */
    public static void main(final String[] args) throws Exception {
        final var contract = new Notes();
        contract.processEnvironmentOptions();
        Metrics.initialize(contract.getChaincodeConfig());
        Traces.initialize(contract.getChaincodeConfig());
        new NettyChaincodeServer(contract, contract.getChaincodeServerConfig()).start();
    }
}
