import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.hyperledger.fabric.shim.ChaincodeStub;

/** What only the members of a collection see. The first argument of each function is the collection. */
final class Private {
    static final Map<String, Everything.Function> FUNCTIONS = Map.ofEntries(
            Map.entry("privatePut", (stub, args) -> put(stub, args.get(0), args.get(1))),
            Map.entry("privateGet", Private::get),
            Map.entry("privateHash", Private::hash),
            Map.entry("privateDel", Private::del),
            Map.entry("privatePurge", Private::purge),
            Map.entry("privateRange", Private::range),
            Map.entry("privatePutComposite", Private::putComposite),
            Map.entry("privatePartial", Private::partial),
            Map.entry("privateQuery", Private::query),
            Map.entry("privateSetPolicy", Private::setPolicy),
            Map.entry("privateGetPolicy", Private::getPolicy));

    private Private() {
    }

    /** The value travels as transient data, which reaches no block. */
    private static Object put(final ChaincodeStub stub, final String collection, final String key) {
        final var value = stub.getTransient().get("value");
        if (value == null) {
            throw new IllegalArgumentException("no transient value");
        }
        stub.putPrivateData(collection, key, value);
        return null;
    }

    private static Object get(final ChaincodeStub stub, final List<String> args) {
        final var value = stub.getPrivateData(args.get(0), args.get(1));
        if (value.length == 0) {
            throw new IllegalArgumentException("no such private key " + args.get(1));
        }
        return value;
    }

    private static Object hash(final ChaincodeStub stub, final List<String> args) {
        return HexFormat.of().formatHex(stub.getPrivateDataHash(args.get(0), args.get(1)));
    }

    private static Object del(final ChaincodeStub stub, final List<String> args) {
        stub.delPrivateData(args.get(0), args.get(1));
        return null;
    }

    private static Object purge(final ChaincodeStub stub, final List<String> args) {
        stub.purgePrivateData(args.get(0), args.get(1));
        return null;
    }

    private static Object range(final ChaincodeStub stub, final List<String> args) throws Exception {
        return State.entries(stub.getPrivateDataByRange(args.get(0), args.get(1), args.get(2)));
    }

    private static Object putComposite(final ChaincodeStub stub, final List<String> args) {
        return put(stub, args.get(0), State.key(args.subList(1, args.size())).toString());
    }

    private static Object partial(final ChaincodeStub stub, final List<String> args) throws Exception {
        final var key = State.key(args.subList(1, args.size()));
        return State.split(stub, State.entries(stub.getPrivateDataByPartialCompositeKey(args.get(0), key)));
    }

    private static Object query(final ChaincodeStub stub, final List<String> args) throws Exception {
        return State.entries(stub.getPrivateDataQueryResult(args.get(0), args.get(1)));
    }

    private static Object setPolicy(final ChaincodeStub stub, final List<String> args) {
        final var policy = Transaction.signedByPeersOf(args.subList(2, args.size()));
        stub.setPrivateDataValidationParameter(args.get(0), args.get(1), policy);
        return null;
    }

    private static Object getPolicy(final ChaincodeStub stub, final List<String> args) {
        return Transaction.organizations(stub.getPrivateDataValidationParameter(args.get(0), args.get(1)));
    }
}
