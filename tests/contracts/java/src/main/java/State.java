import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.hyperledger.fabric.shim.ChaincodeStub;
import org.hyperledger.fabric.shim.ledger.CompositeKey;
import org.hyperledger.fabric.shim.ledger.KeyValue;
import org.hyperledger.fabric.shim.ledger.QueryResultsIterator;
import org.hyperledger.fabric.shim.ledger.QueryResultsIteratorWithMetadata;

/** The state that all members see. */
final class State {
    static final Map<String, Everything.Function> FUNCTIONS = Map.ofEntries(
            Map.entry("put", State::put),
            Map.entry("get", State::get),
            Map.entry("del", State::del),
            Map.entry("putMany", State::putMany),
            Map.entry("range", (stub, args) -> entries(stub.getStateByRange(args.get(0), args.get(1)))),
            Map.entry("rangePage", State::rangePage),
            Map.entry("putComposite", State::putComposite),
            Map.entry("partial", (stub, args) -> split(stub, entries(stub.getStateByPartialCompositeKey(key(args))))),
            Map.entry("partialPage", State::partialPage),
            Map.entry("history", State::history),
            Map.entry("query", (stub, args) -> entries(stub.getQueryResult(args.get(0)))),
            Map.entry("queryPage", State::queryPage),
            Map.entry("pageAndPut", State::pageAndPut));

    private State() {
    }

    private static Object put(final ChaincodeStub stub, final List<String> args) {
        stub.putStringState(args.get(0), args.get(1));
        return null;
    }

    private static Object get(final ChaincodeStub stub, final List<String> args) {
        final var value = stub.getState(args.get(0));
        if (value.length == 0) {
            throw new IllegalArgumentException("no such key " + args.get(0));
        }
        return value;
    }

    private static Object del(final ChaincodeStub stub, final List<String> args) {
        stub.delState(args.get(0));
        return null;
    }

    private static Object putMany(final ChaincodeStub stub, final List<String> args) {
        for (int number = 0; number < Integer.parseInt(args.get(1)); number++) {
            stub.putStringState(String.format("%s%04d", args.get(0), number), Integer.toString(number));
        }
        return null;
    }

    private static Object rangePage(final ChaincodeStub stub, final List<String> args) {
        final var size = Integer.parseInt(args.get(2));
        return page(stub.getStateByRangeWithPagination(args.get(0), args.get(1), size, args.get(3)));
    }

    private static Object putComposite(final ChaincodeStub stub, final List<String> args) {
        final var key = key(args.subList(1, args.size()));
        stub.putStringState(key.toString(), args.get(0));
        return null;
    }

    private static Object partialPage(final ChaincodeStub stub, final List<String> args) {
        final var key = key(args.subList(2, args.size()));
        final var size = Integer.parseInt(args.get(0));
        final var page = page(stub.getStateByPartialCompositeKeyWithPagination(key, size, args.get(1)));
        @SuppressWarnings("unchecked")
        final var found = (List<List<Object>>) page.get("entries");
        return Map.of("entries", split(stub, found), "bookmark", page.get("bookmark"), "fetched", page.get("fetched"));
    }

    private static Object history(final ChaincodeStub stub, final List<String> args) throws Exception {
        final var changes = new ArrayList<Map<String, Object>>();
        try (var iterator = stub.getHistoryForKey(args.get(0))) {
            for (final var change : iterator) {
                changes.add(Map.of(
                        "txId", change.getTxId(),
                        "value", change.getStringValue(),
                        "deleted", change.isDeleted(),
                        "seconds", change.getTimestamp().getEpochSecond()));
            }
        }
        return changes;
    }

    private static Object queryPage(final ChaincodeStub stub, final List<String> args) {
        final var size = Integer.parseInt(args.get(1));
        return page(stub.getQueryResultWithPagination(args.get(0), size, args.get(2)));
    }

    /** A transaction that turns pages may not write. */
    private static Object pageAndPut(final ChaincodeStub stub, final List<String> args) {
        page(stub.getStateByRangeWithPagination(args.get(0), args.get(1), 1, ""));
        stub.putStringState("never", "written");
        return null;
    }

    static CompositeKey key(final List<String> parts) {
        return new CompositeKey(parts.get(0), parts.subList(1, parts.size()));
    }

    static List<List<Object>> entries(final QueryResultsIterator<KeyValue> iterator) throws Exception {
        final var found = new ArrayList<List<Object>>();
        try (iterator) {
            iterator.forEach(entry -> found.add(List.of(entry.getKey(), entry.getStringValue())));
        }
        return found;
    }

    private static Map<String, Object> page(final QueryResultsIteratorWithMetadata<KeyValue> iterator) {
        final var found = new ArrayList<List<Object>>();
        iterator.forEach(entry -> found.add(List.of(entry.getKey(), entry.getStringValue())));
        final var metadata = iterator.getMetadata();
        return Map.of(
                "entries", found,
                "bookmark", metadata.getBookmark(),
                "fetched", metadata.getFetchedRecordsCount());
    }

    /** The same entries with their keys taken apart: the type, then the attributes. */
    static List<List<Object>> split(final ChaincodeStub stub, final List<List<Object>> entries) {
        return entries.stream().map(entry -> {
            final var key = stub.splitCompositeKey((String) entry.get(0));
            final var parts = new ArrayList<String>(List.of(key.getObjectType()));
            parts.addAll(key.getAttributes());
            return List.of(parts, entry.get(1));
        }).toList();
    }
}
