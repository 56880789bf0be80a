import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.hyperledger.fabric.shim.ext.sbe.StateBasedEndorsement.RoleType;
import org.hyperledger.fabric.shim.ext.sbe.impl.StateBasedEndorsementFactory;

/** Policies of keys, events, other chaincodes, and what a transaction knows of itself. */
final class Transaction {
    static final Map<String, Everything.Function> FUNCTIONS = Map.of(
            "setPolicy", Transaction::setPolicy,
            "getPolicy", (stub, args) -> organizations(stub.getStateValidationParameter(args.get(0))),
            "event", Transaction::event,
            "call", Transaction::call,
            "context", Transaction::context,
            "fail", Transaction::fail);

    private Transaction() {
    }

    private static Object setPolicy(final ChaincodeStub stub, final List<String> args) {
        stub.setStateValidationParameter(args.get(0), signedByPeersOf(args.subList(1, args.size())));
        return null;
    }

    static byte[] signedByPeersOf(final List<String> mspIds) {
        final var policy = StateBasedEndorsementFactory.getInstance().newStateBasedEndorsement(null);
        policy.addOrgs(RoleType.RoleTypePeer, mspIds.toArray(String[]::new));
        return policy.policy();
    }

    static List<String> organizations(final byte[] policy) {
        final var parsed = StateBasedEndorsementFactory.getInstance().newStateBasedEndorsement(policy);
        return parsed.listOrgs().stream().sorted().toList();
    }

    private static Object event(final ChaincodeStub stub, final List<String> args) {
        stub.setEvent(args.get(0), Json.bytes(args.get(1)));
        return null;
    }

    private static Object call(final ChaincodeStub stub, final List<String> args) {
        final var forwarded = args.subList(2, args.size()).stream().map(Json::bytes).toList();
        final var response = stub.invokeChaincode(args.get(0), forwarded, args.get(1));
        final var payload = response.getPayload() == null ? "" : response.getStringPayload();
        final var message = response.getMessage() == null ? "" : response.getMessage();
        return Map.of("status", response.getStatusCode(), "message", message, "payload", payload);
    }

    /** Long byte strings as their hashes. */
    private static Object context(final ChaincodeStub stub, final List<String> args) throws Exception {
        final var joined = new ByteArrayOutputStream();
        for (final var arg : stub.getArgs()) {
            joined.write(arg);
        }
        final var values = new HashMap<String, String>();
        stub.getTransient().forEach((key, value) -> values.put(key, new String(value, StandardCharsets.UTF_8)));
        final var signed = stub.getSignedProposal();
        final var facts = new HashMap<String, Object>();
        facts.put("txId", stub.getTxId());
        facts.put("channel", stub.getChannelId());
        facts.put("function", stub.getFunction());
        facts.put("args", args);
        facts.put("parts", stub.getStringArgs());
        facts.put("joined", joined.toString(StandardCharsets.UTF_8));
        facts.put("creator", sha256(stub.getCreator()));
        facts.put("binding", HexFormat.of().formatHex(stub.getBinding()));
        facts.put("proposal", sha256(signed.getProposalBytes().toByteArray()));
        facts.put("signature", sha256(signed.getSignature().toByteArray()));
        facts.put("seconds", stub.getTxTimestamp().getEpochSecond());
        facts.put("nanos", stub.getTxTimestamp().getNano());
        facts.put("transient", values);
        return facts;
    }

    private static String sha256(final byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    private static Object fail(final ChaincodeStub stub, final List<String> args) {
        throw new IllegalArgumentException(args.get(0));
    }
}
