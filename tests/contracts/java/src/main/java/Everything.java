import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.hyperledger.fabric.metrics.Metrics;
import org.hyperledger.fabric.shim.ChaincodeBase;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.hyperledger.fabric.shim.NettyChaincodeServer;
import org.hyperledger.fabric.traces.Traces;

/**
 * A contract on Fabric's Java shim that makes every call that the shim offers. The contracts beside it do the same in
 * other languages; tests/node/languages says what each function has to answer.
 */
public final class Everything extends ChaincodeBase {
    /** A function of the contract; its answer is sent as it is (bytes), as text, or as JSON (anything else). */
    @FunctionalInterface
    interface Function {
        Object call(ChaincodeStub stub, List<String> args) throws Exception;
    }

    private final Map<String, Function> functions = new HashMap<>();

    private Everything() {
        functions.putAll(State.FUNCTIONS);
        functions.putAll(Private.FUNCTIONS);
        functions.putAll(Transaction.FUNCTIONS);
    }

    @Override
    public Response init(final ChaincodeStub stub) {
        stub.putStringState("initialized", stub.getParameters().get(0));
        return newSuccessResponse();
    }

    @Override
    public Response invoke(final ChaincodeStub stub) {
        final var name = stub.getFunction();
        if (name.equals("crash")) {
            throw new IllegalStateException(stub.getParameters().get(0));
        }
        final var function = functions.get(name);
        if (function == null) {
            return newErrorResponse("no such function " + name);
        }
        try {
            return newSuccessResponse(bytes(function.call(stub, stub.getParameters())));
        } catch (final Exception failure) {
            return newErrorResponse(failure.getMessage());
        }
    }

    private static byte[] bytes(final Object answer) {
        if (answer == null || answer instanceof byte[]) {
            return (byte[]) answer;
        }
        return Json.bytes(answer instanceof String text ? text : Json.of(answer));
    }

    /** Serves the peers at CHAINCODE_SERVER_ADDRESS; CORE_CHAINCODE_ID_NAME is the package id. */
    public static void main(final String[] args) throws Exception {
        final var contract = new Everything();
        contract.processEnvironmentOptions();
        Metrics.initialize(contract.getChaincodeConfig());
        Traces.initialize(contract.getChaincodeConfig());
        new NettyChaincodeServer(contract, contract.getChaincodeServerConfig()).start();
    }
}
