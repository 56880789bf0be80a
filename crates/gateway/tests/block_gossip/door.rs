//! A door before a peer that can be shut: whoever comes through it is cut off, and nobody gets in.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

pub struct Door {
    pub address: String,
    to: Arc<Mutex<Option<String>>>,
    visitors: Arc<Mutex<JoinSet<()>>>,
    porter: JoinHandle<()>,
}

impl Door {
    /// An open door to nowhere yet.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let to: Arc<Mutex<Option<String>>> = Arc::default();
        let visitors: Arc<Mutex<JoinSet<()>>> = Arc::default();
        let (place, guests) = (to.clone(), visitors.clone());
        let porter = tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                let Some(inside) = place.lock().clone() else {
                    continue;
                };
                guests.lock().spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(inside).await {
                        let _ = tokio::io::copy_bidirectional(&mut visitor, &mut inner).await;
                    }
                });
            }
        });
        Self {
            address,
            to,
            visitors,
            porter,
        }
    }

    pub fn open(&self, to: &str) {
        *self.to.lock() = Some(to.to_owned());
    }

    pub fn shut(&self) {
        *self.to.lock() = None;
        self.visitors.lock().abort_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.porter.abort();
    }
}
