import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import org.hyperledger.fabric.client.Gateway;
import org.hyperledger.fabric.client.Hash;
import org.hyperledger.fabric.client.identity.Identities;
import org.hyperledger.fabric.client.identity.Signer;
import org.hyperledger.fabric.client.identity.Signers;
import org.hyperledger.fabric.client.identity.X509Identity;

/** Whose application this is: an MSP id, and a folder with {@code msp} and {@code tls}. */
record Person(String mspId, Path folder) {
    /** A connection to the peer at the address, whose certificate the roots vouch for. */
    ManagedChannel connect(final String address, final Path roots) throws IOException {
        Path tls = folder.resolve("tls");
        ChannelCredentials credentials = TlsChannelCredentials.newBuilder()
                .trustManager(roots.toFile())
                .keyManager(tls.resolve("client.crt").toFile(), tls.resolve("client.key").toFile())
                .build();
        return Grpc.newChannelBuilder(address, credentials).build();
    }

    /** A gateway under this identity, to be connected. */
    Gateway.Builder gateway(final ManagedChannel connection) throws Exception {
        X509Certificate own = certificate(folder.resolve("tls/client.crt"));
        return Gateway.newInstance()
                .connection(connection)
                .identity(new X509Identity(mspId, certificate(only(folder.resolve("msp/signcerts")))))
                .signer(signer())
                .hash(Hash.SHA256)
                .tlsClientCertificateHash(MessageDigest.getInstance("SHA-256").digest(own.getEncoded()));
    }

    /** What signs with this person's key. */
    Signer signer() throws Exception {
        return Signers.newPrivateKeySigner(
                Identities.readPrivateKey(Files.newBufferedReader(only(folder.resolve("msp/keystore")))));
    }

    private static X509Certificate certificate(final Path file) throws Exception {
        return Identities.readX509Certificate(Files.newBufferedReader(file));
    }

    /** The only file of a folder. */
    private static Path only(final Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            Path[] all = files.toArray(Path[]::new);
            if (all.length != 1) {
                throw new IOException(folder + " holds " + all.length + " files");
            }
            return all[0];
        }
    }
}
