//! One request to the catalog's server -> its answer, or why there is none that helps.
//!
//! In: a method, a path below the catalog's base, a body. Out: the bytes of an answer of success, or a [`Failure`] that is
//! told by what it means for the caller. An answer of success may hold credentials of a storage, and is never quoted.

use bytes::Bytes;
use iceberg::{NamespaceIdent, TableIdent};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;
use super::session::reason;
use crate::causes::causes;

/// What stands for itself in a path (RFC 3986, 2.3).
const PATH_SYNTAX: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parameters after the `?` of a URI.
pub(super) type Query = Vec<(&'static str, String)>;

/// Where the server's catalog is, and what every request carries.
pub(super) struct Base {
    pub(super) client: Client,
    /// `https://HOST/v1`, with the prefix that the server wants.
    pub(super) uri: String,
    pub(super) headers: HeaderMap,
    /// What stands between the levels of a namespace in a path, encoded.
    pub(super) separator: String,
}

impl Base {
    /// Sends a request for `path`, encoded and without a slash at its start; `body` is JSON.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Option<Bytes>,
    ) -> Result<Bytes, Failure> {
        let uri = format!("{}/{path}", self.uri);
        let mut request = self.client.request(method, uri).headers(self.headers.clone());
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let silent = |error: reqwest::Error| Failure::Silent(causes(&error));
        let answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let body = answer.bytes().await;
        if status.is_success() {
            return body.map_err(silent);
        }
        let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let kind = body["error"]["type"].as_str().unwrap_or_default().to_owned();
        Err(Failure::Answered { status, kind, reason: reason(&body) })
    }

    pub(super) fn namespace(&self, namespace: &NamespaceIdent) -> String {
        let levels: Vec<String> = namespace.as_ref().iter().map(|level| encoded(level)).collect();
        format!("namespaces/{}", levels.join(&self.separator))
    }

    pub(super) fn table(&self, ident: &TableIdent) -> String {
        format!("{}/tables/{}", self.namespace(ident.namespace()), encoded(ident.name()))
    }
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, PATH_SYNTAX).to_string()
}

/// What an answer of success says.
pub(super) fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::NotUnderstood(error.to_string()))
}

/// The body of a request.
pub(super) fn json(body: &impl Serialize) -> iceberg::Result<Bytes> {
    Ok(serde_json::to_vec(body)?.into())
}
