//! Connections below any protocol: what a listener says to a certificate, a name, or nothing at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consilium_testkit::Credential;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// No listener takes longer to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to come to a listener.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    /// Whose certificate it has (PEM); empty where a caller cannot know.
    pub root: String,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// TLS settings of a caller.
pub fn config(door: &Door, shown: Option<&Credential>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(door.root.as_bytes()) {
        roots.add(root.expect("PEM")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match roots.is_empty() {
        false => builder.with_root_certificates(roots),
        true => {
            let anybody = Arc::new(Anybody(builder.crypto_provider().clone()));
            builder
                .dangerous()
                .with_custom_certificate_verifier(anybody)
        }
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(credential) => {
            let chain = CertificateDer::pem_slice_iter(credential.cert_pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    let protocol: &[u8] = if door.http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// Takes a server for what it says to be: that is not what is tried there.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects under a name.
pub async fn connect(
    door: &Door,
    shown: Option<&Credential>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(door.address).await?;
    let name = ServerName::try_from(name).expect("a name");
    let connecting = TlsConnector::from(config(door, shown)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connecting).await?
}

/// What a listener says to a certificate: the alert, or that it lets the caller in.
pub async fn greeting(door: &Door, shown: Option<&Credential>) -> String {
    let mut stream = match connect(door, shown, "localhost").await {
        Ok(stream) => stream,
        Err(error) => return refusal(&error),
    };
    // TLS 1.3 lets a client speak before the server has judged its certificate.
    let hello: &[u8] = match door.http2 {
        true => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        false => b"OPTIONS / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    };
    if let Err(error) = stream.write_all(hello).await {
        return refusal(&error);
    }
    let mut first = [0];
    match tokio::time::timeout(PATIENCE, stream.read(&mut first)).await {
        Ok(Ok(0)) => "closed".to_owned(),
        Ok(Ok(_)) => "let in".to_owned(),
        Ok(Err(error)) => refusal(&error),
        Err(_) => "no answer".to_owned(),
    }
}

/// What a caller says to a listener under another name than its certificate has.
pub async fn under_another_name(door: &Door, shown: Option<&Credential>) -> String {
    match connect(door, shown, "other.example.com").await {
        Ok(_) => "let in".to_owned(),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => format!("TLS alert {}", name(*alert)),
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let reason = format!("{reason:?}");
            let reason = reason.split([' ', '(', '{']).next().unwrap_or_default();
            format!("the caller refuses: {reason}")
        }
        Some(other) => format!("TLS: {other}"),
        None => format!("closed: {}", error.kind()),
    }
}

/// The alert's name in RFC 8446.
fn name(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ProtocolVersion => "protocol_version",
        _ => "other",
    }
}

/// Opens so many connections that say nothing, from one address of this machine.
pub async fn crowd(from: SocketAddr, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(from).expect("an address of this machine");
        match tokio::time::timeout(PATIENCE, socket.connect(to)).await {
            Ok(Ok(stream)) => crowd.push(stream),
            Ok(Err(_)) => {}
            Err(_) => break,
        }
    }
    crowd
}
