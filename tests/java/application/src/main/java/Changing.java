import io.grpc.ManagedChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.hyperledger.fabric.client.ChaincodeEvent;
import org.hyperledger.fabric.client.CloseableIterator;
import org.hyperledger.fabric.client.EndorseException;
import org.hyperledger.fabric.client.FileCheckpointer;
import org.hyperledger.fabric.client.Gateway;
import org.hyperledger.fabric.client.GatewayException;
import org.hyperledger.fabric.client.GatewayRuntimeException;
import org.hyperledger.fabric.client.Network;
import org.hyperledger.fabric.client.Status;
import org.hyperledger.fabric.client.Transaction;
import org.hyperledger.fabric.protos.peer.TxValidationCode;

/**
 * An application that goes on while the network changes: it writes, or listens for events, until
 * SIGTERM, and prints a line for each transaction that is committed, or each event.
 * Arguments: write or events; contract; file of the checkpoint; channel; MSP id; folder of a person;
 * then of each peer, the nearest first, its address and the file of its TLS roots.
 */
public final class Changing {
    private final List<Gateway> gateways;
    private final String channel;
    private final String contract;
    private volatile boolean stopped;
    private volatile CloseableIterator<?> open;

    private Changing(final List<Gateway> gateways, final String channel, final String contract) {
        this.gateways = gateways;
        this.channel = channel;
        this.contract = contract;
    }

    public static void main(final String[] args) throws Exception {
        List<ManagedChannel> connections = new ArrayList<>();
        List<Gateway> gateways = new ArrayList<>();
        for (int peer = 6; peer < args.length; peer += 2) {
            Person person = new Person(args[4], Path.of(args[5]));
            ManagedChannel connection = person.connect(args[peer], Path.of(args[peer + 1]));
            connections.add(connection);
            gateways.add(person.gateway(connection)
                    .endorseOptions(options -> options.withDeadlineAfter(5, TimeUnit.SECONDS))
                    .submitOptions(options -> options.withDeadlineAfter(5, TimeUnit.SECONDS))
                    .commitStatusOptions(options -> options.withDeadlineAfter(5, TimeUnit.SECONDS))
                    .connect());
        }
        Changing application = new Changing(gateways, args[3], args[1]);
        Thread working = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> application.stop(working)));
        if (args[0].equals("write")) {
            application.write();
        } else {
            application.events(Path.of(args[2]));
        }
        gateways.forEach(Gateway::close);
        connections.forEach(ManagedChannel::shutdownNow);
    }

    /** Lets what was begun end, which is a success. */
    private void stop(final Thread working) {
        stopped = true;
        CloseableIterator<?> stream = open;
        if (stream != null) {
            stream.close();
        }
        try {
            working.join(30_000);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        Runtime.getRuntime().halt(working.isAlive() ? 1 : 0);
    }

    private void write() throws Exception {
        for (int count = 0; !stopped; count++) {
            String payload = "java-" + count;
            Status status = submit(System.currentTimeMillis() + 120_000, "event", "Happened", payload);
            if (!status.isSuccessful()) {
                throw new IllegalStateException(status.getTransactionId() + " is " + status.getCode());
            }
            System.out.println(status.getTransactionId() + " " + payload);
        }
    }

    /** Has one call endorsed, ordered and committed, exactly once, until {@code end} at the latest. */
    private Status submit(final long end, final String name, final String... args) throws Exception {
        while (true) {
            Status status = order(end, endorse(end, name, args));
            boolean conflict = status.getCode() == TxValidationCode.MVCC_READ_CONFLICT
                    || status.getCode() == TxValidationCode.PHANTOM_READ_CONFLICT;
            if (!conflict || System.currentTimeMillis() > end) {
                return status;
            }
            // What it read has changed since, perhaps the contract's definition: nothing was written.
        }
    }

    /** Sends the transaction until its fate is known: of two copies with one id the second is invalid. */
    private Status order(final long end, final Transaction transaction) throws Exception {
        byte[] bytes = transaction.getBytes();
        for (int turn = 0;; turn++) {
            try {
                return gateways.get(turn % gateways.size()).newTransaction(bytes).submitAsync().getStatus();
            } catch (GatewayException failed) {
                pause(end, failed);
            }
        }
    }

    /** Asks until a gateway finds the endorsements. What the contract refuses it would refuse again. */
    private Transaction endorse(final long end, final String name, final String... args) throws Exception {
        for (int turn = 0;; turn++) {
            try {
                return gateways.get(turn % gateways.size()).getNetwork(channel).getContract(contract)
                        .newProposal(name).addArguments(args).build().endorse();
            } catch (EndorseException failed) {
                if (failed.getDetails().stream().anyMatch(detail -> detail.getMessage().startsWith("chaincode response "))) {
                    throw failed;
                }
                pause(end, failed);
            }
        }
    }

    private static <E extends Exception> void pause(final long end, final E failed) throws E, InterruptedException {
        if (System.currentTimeMillis() > end) {
            throw failed;
        }
        Thread.sleep(200);
    }

    /** Prints every event in order and once: it goes on behind the checkpoint whenever a stream ends. */
    private void events(final Path file) throws Exception {
        Network network = gateways.get(0).getNetwork(channel);
        try (FileCheckpointer checkpoint = new FileCheckpointer(file)) {
            while (!stopped) {
                try (CloseableIterator<ChaincodeEvent> events = network.newChaincodeEventsRequest(contract)
                        .startBlock(0).checkpoint(checkpoint).build().getEvents()) {
                    open = events;
                    while (!stopped && events.hasNext()) {
                        ChaincodeEvent event = events.next();
                        System.out.println(event.getBlockNumber() + " " + event.getTransactionId() + " "
                                + new String(event.getPayload(), StandardCharsets.UTF_8));
                        checkpoint.checkpointChaincodeEvent(event);
                    }
                } catch (GatewayRuntimeException ended) {
                    // The checkpoint has not moved: nothing is lost.
                    Thread.sleep(200);
                }
            }
        }
    }
}
