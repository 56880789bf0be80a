//! Lists that may be long: read from the database and sent page by page.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::ca::Ca;
use crate::error::Refusal;
use crate::identities::IdentityInfo;
use crate::server::Granted;
use crate::store::{CertificateFilter, Cursor, IdentityFilter, StoreError};

/// Rows that are in memory at once, and in one piece of the answer.
const PAGE: usize = 100;

/// What is listed.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Identities(IdentityFilter),
    Certificates(CertificateFilter),
}

/// A list whose first page was read.
pub(crate) struct Listing {
    ca: Arc<Ca>,
    rows: Rows,
    ca_name: String,
    first: Page,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Some items as JSON, separated by commas, and where the next page begins, if there is one.
#[derive(Debug, Default)]
struct Page {
    items: String,
    next: Option<Cursor>,
}

impl Listing {
    /// Reads the first page.
    pub fn begin(ca: &Arc<Ca>, rows: Rows, ca_name: &str) -> Result<Granted, Refusal> {
        let first = page(ca, &rows, &Cursor::default())?;
        Ok(Granted {
            status: 200,
            result: Value::Null,
            location: None,
            listing: Some(Self {
                ca: ca.clone(),
                rows,
                ca_name: ca_name.to_owned(),
                first,
            }),
        })
    }

    /// The whole answer, envelope included. A failure of the database ends it early, and with it
    /// the connection, so that nobody takes a part for the whole.
    pub fn into_body(self) -> Body {
        let Self {
            ca,
            rows,
            ca_name,
            first,
        } = self;
        let member = match rows {
            Rows::Identities(_) => "identities",
            Rows::Certificates(_) => "certs",
        };
        let opening = format!("{{\"result\":{{\"{member}\":[{}", first.items);
        let closing = format!(
            "], \"caname\":{}}},\"errors\":[],\"messages\":[],\"success\":true}}",
            Value::from(ca_name)
        );
        let rows = Arc::new(rows);
        let pages = stream::try_unfold(
            (Some(opening), first.next, Some(closing)),
            move |(opening, next, mut closing)| {
                let (ca, rows) = (ca.clone(), rows.clone());
                async move {
                    if let Some(opening) = opening {
                        return Ok(Some((Bytes::from(opening), (None, next, closing))));
                    }
                    let Some(after) = next else {
                        let end = closing.take();
                        return Ok(end.map(|end| (Bytes::from(end), (None, None, None))));
                    };
                    let read = tokio::task::spawn_blocking(move || page(&ca, &rows, &after)).await;
                    let page = read.map_err(std::io::Error::other)?.map_err(|error| {
                        tracing::error!(%error, "a list ended early");
                        std::io::Error::other(error)
                    })?;
                    let comma = if page.items.is_empty() { "" } else { "," };
                    let piece = Bytes::from(format!("{comma}{}", page.items));
                    Ok::<_, std::io::Error>(Some((piece, (None, page.next, closing))))
                }
            },
        );
        Body::from_stream(pages)
    }
}

fn page(ca: &Ca, rows: &Rows, after: &Cursor) -> Result<Page, StoreError> {
    let found: Vec<(Cursor, String)> = match rows {
        Rows::Identities(filter) => ca
            .store
            .identities(filter, after, PAGE)?
            .into_iter()
            .map(|(cursor, identity)| {
                let info = serde_json::to_string(&IdentityInfo::from(&identity))?;
                Ok((cursor, info))
            })
            .collect::<Result<_, StoreError>>()?,
        Rows::Certificates(filter) => ca
            .store
            .certificates(filter, after, PAGE)?
            .into_iter()
            .map(|(cursor, pem)| (cursor, json!({ "PEM": pem }).to_string()))
            .collect(),
    };
    let full = found.len() == PAGE;
    let next = found
        .last()
        .filter(|_| full)
        .map(|(cursor, _)| cursor.clone());
    let items: Vec<String> = found.into_iter().map(|(_, item)| item).collect();
    Ok(Page {
        items: items.join(","),
        next,
    })
}
