//! A certificate authority on a free port, until its input ends.
//!
//! `cargo run -p consilium-ca --example authority -- FOLDER` prints its URL and the path of its
//! root certificate; `admin` with password `adminpw` is the registrar.

use consilium_ca::{CaOptions, CaServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = std::env::args()
        .nth(1)
        .ok_or("give a folder for the authority's files")?;
    let options = CaOptions {
        bootstrap: Some(("admin".into(), "adminpw".into())),
        ..CaOptions::new(&home, "ca-org1", "Example Hospital")
    };
    let ca = CaServer::open(options)?;
    let tls = ca.tls(&["localhost".into(), "127.0.0.1".into()])?;
    let listener = consilium_transport::listen("127.0.0.1:0").await?;
    println!("https://localhost:{}", listener.local_addr()?.port());
    println!("{home}/ca-cert.pem");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever ends the input ends the example.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = stop.send(());
    });
    let shutdown = async {
        let _ = stopped.await;
    };
    Ok(ca.serve(listener, Some(tls), shutdown).await?)
}
