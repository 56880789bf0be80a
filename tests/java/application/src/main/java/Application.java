import io.grpc.ManagedChannel;
import io.grpc.Status.Code;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.hyperledger.fabric.client.ChaincodeEvent;
import org.hyperledger.fabric.client.Checkpointer;
import org.hyperledger.fabric.client.CloseableIterator;
import org.hyperledger.fabric.client.CommitException;
import org.hyperledger.fabric.client.Contract;
import org.hyperledger.fabric.client.EndorseException;
import org.hyperledger.fabric.client.Gateway;
import org.hyperledger.fabric.client.GatewayException;
import org.hyperledger.fabric.client.InMemoryCheckpointer;
import org.hyperledger.fabric.client.Network;
import org.hyperledger.fabric.client.SubmittedTransaction;
import org.hyperledger.fabric.client.identity.Signer;
import org.hyperledger.fabric.protos.peer.TxValidationCode;

/**
 * An application on Fabric's gateway SDK for Java: calls, events and failures.
 * Arguments: address of a peer, channel, MSP id, folder of a person.
 */
public final class Application {
    private final String channel;
    private final Gateway gateway;
    private final Signer signer;
    private final Contract kv;

    private Application(final String channel, final Gateway gateway, final Signer signer) {
        this.channel = channel;
        this.gateway = gateway;
        this.signer = signer;
        this.kv = network().getContract("kv");
    }

    public static void main(final String[] args) throws Exception {
        Person person = new Person(args[2], Path.of(args[3]));
        ManagedChannel connection = person.connect(args[0], Path.of(args[3], "tls", "ca.crt"));
        Signer signer = person.signer();
        try (Gateway gateway = person.gateway(connection)
                .evaluateOptions(options -> options.withDeadlineAfter(30, TimeUnit.SECONDS))
                .endorseOptions(options -> options.withDeadlineAfter(30, TimeUnit.SECONDS))
                .submitOptions(options -> options.withDeadlineAfter(30, TimeUnit.SECONDS))
                .commitStatusOptions(options -> options.withDeadlineAfter(60, TimeUnit.SECONDS))
                .chaincodeEventsOptions(options -> options.withDeadlineAfter(60, TimeUnit.SECONDS))
                .blockEventsOptions(options -> options.withDeadlineAfter(60, TimeUnit.SECONDS))
                .filteredBlockEventsOptions(options -> options.withDeadlineAfter(60, TimeUnit.SECONDS))
                .blockAndPrivateDataEventsOptions(options -> options.withDeadlineAfter(60, TimeUnit.SECONDS))
                .connect()) {
            Application application = new Application(args[1], gateway, signer);
            application.calls();
            application.signedElsewhere();
            application.events();
            application.blocks();
            application.failures();
        } finally {
            connection.shutdownNow();
        }
        System.out.println("5 passed, 0 failed");
    }

    private Network network() {
        return gateway.getNetwork(channel);
    }

    private void calls() throws Exception {
        String key = key();
        kv.submitTransaction("put", key, "at once");
        same("at once", text(kv.evaluateTransaction("get", key)));
        var proposal = kv.newProposal("put").addArguments(key, "step by step").build();
        var transaction = proposal.endorse();
        same(proposal.getTransactionId(), transaction.getTransactionId());
        SubmittedTransaction submitted = transaction.submitAsync();
        var status = submitted.getStatus();
        same(TxValidationCode.VALID, status.getCode());
        same(true, status.isSuccessful() && status.getBlockNumber() > 0);
        same("step by step", text(kv.newProposal("get").addArguments(key).build().evaluate()));
    }

    private void signedElsewhere() throws Exception {
        String key = key();
        var unsigned = kv.newProposal("put").addArguments(key, "offline").build();
        var proposal = gateway.newSignedProposal(unsigned.getBytes(), signer.sign(unsigned.getDigest()));
        var endorsed = proposal.endorse();
        var transaction = gateway.newSignedTransaction(endorsed.getBytes(), signer.sign(endorsed.getDigest()));
        var submitted = transaction.submitAsync();
        var commit = gateway.newSignedCommit(submitted.getBytes(), signer.sign(submitted.getDigest()));
        same(true, commit.getStatus().isSuccessful());
        same("offline", text(kv.evaluateTransaction("get", key)));
    }

    private void events() throws Exception {
        List<String> sent = new ArrayList<>();
        long first = 0;
        for (int count = 0; count < 4; count++) {
            var submitted = kv.newProposal("put").addArguments(key(), "value", "FromJava").build().endorse().submitAsync();
            long block = submitted.getStatus().getBlockNumber();
            first = first == 0 ? block : first;
            sent.add(submitted.getTransactionId());
        }
        // Whoever keeps a checkpoint sees every event once, however often the stream ends.
        Checkpointer checkpoint = new InMemoryCheckpointer();
        List<String> seen = new ArrayList<>();
        while (seen.size() < sent.size()) {
            var request = network().newChaincodeEventsRequest("kv").startBlock(first).checkpoint(checkpoint).build();
            try (CloseableIterator<ChaincodeEvent> stream = request.getEvents()) {
                ChaincodeEvent event = stream.next();
                checkpoint.checkpointChaincodeEvent(event);
                if (sent.contains(event.getTransactionId())) {
                    same("FromJava", event.getEventName());
                    seen.add(event.getTransactionId());
                }
            }
        }
        same(sent, seen);
    }

    private void blocks() throws Exception {
        var submitted = kv.newProposal("put").addArguments(key(), "value").build().endorse().submitAsync();
        long number = submitted.getStatus().getBlockNumber();
        try (var stream = network().newBlockEventsRequest().startBlock(number).build().getEvents()) {
            same(number, stream.next().getHeader().getNumber());
        }
        try (var stream = network().newFilteredBlockEventsRequest().startBlock(number).build().getEvents()) {
            same(true, stream.next().getFilteredTransactionsList().stream()
                    .anyMatch(entry -> entry.getTxid().equals(submitted.getTransactionId())));
        }
        try (var stream = network().newBlockAndPrivateDataEventsRequest().startBlock(number).build().getEvents()) {
            same(number, stream.next().getBlock().getHeader().getNumber());
        }
    }

    private void failures() throws Exception {
        var absent = fails(GatewayException.class, () -> kv.evaluateTransaction("get", key()));
        contains("NOT_FOUND", absent.getMessage());
        var refused = fails(EndorseException.class, () -> network().getContract("records")
                .submitTransaction("RegisterRecords", "{\"records\":[]}"));
        same(Code.ABORTED, refused.getStatus().getCode());
        same("HospitalMSP", refused.getDetails().get(0).getMspId());
        contains("chaincode response 403", refused.getDetails().get(0).getMessage());
        var elsewhere = fails(GatewayException.class,
                () -> gateway.getNetwork("elsewhere").getContract("kv").evaluateTransaction("get", "a"));
        same(Code.UNAVAILABLE, elsewhere.getStatus().getCode());
        var unsigned = kv.newProposal("put").addArguments(key(), "forged").build();
        fails(EndorseException.class, () -> gateway.newSignedProposal(unsigned.getBytes(), new byte[] {1, 2, 3}).endorse());

        String key = key();
        kv.submitTransaction("put", key, "0");
        var one = kv.newProposal("increment").addArguments(key).build().endorse();
        var other = kv.newProposal("increment").addArguments(key).build().endorse();
        one.submit();
        var conflict = fails(CommitException.class, other::submit);
        same(TxValidationCode.MVCC_READ_CONFLICT, conflict.getCode());
        same("1", text(kv.evaluateTransaction("get", key)));
    }

    private interface Call {
        void run() throws Exception;
    }

    private static <E extends Exception> E fails(final Class<E> kind, final Call call) throws Exception {
        try {
            call.run();
        } catch (Exception error) {
            if (kind.isInstance(error)) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("expected " + kind.getSimpleName());
    }

    private static void same(final Object expected, final Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    private static void contains(final String part, final String found) {
        if (!found.contains(part)) {
            throw new AssertionError("no " + part + " in " + found);
        }
    }

    private static String key() {
        return "java-" + UUID.randomUUID();
    }

    private static String text(final byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
