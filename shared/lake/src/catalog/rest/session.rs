//! A way to sign in -> a client of the catalog that is signed in.
//!
//! In: the server's URI and [`RestAuth`]. Out: the crate's catalog, whose HTTP client sends the token. The token stands in
//! a header that is marked as sensitive and nowhere else. A token that was given for a time is replaced before its end,
//! one that was refused is forgotten.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::io::StorageFactory;
use iceberg::{CatalogBuilder as _, Error, ErrorKind, Result};
use iceberg_catalog_rest::{
    REST_CATALOG_PROP_URI, REST_CATALOG_PROP_WAREHOUSE, RestCatalog, RestCatalogBuilder,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::CATALOG_NAME;
use super::super::config::{RestAuth, Secret};
use crate::causes::causes;

/// A server that is reached at all is reached in this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one request, its answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that a frozen function wakes up with are dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// What a token is for, if nothing else is said; so the specification has it.
const SCOPE: &str = "catalog";
/// How long a token is used whose server does not say how long it is good for.
const UNTOLD_LIFETIME: Duration = Duration::from_secs(600);

/// The crate's catalog, whose requests carry the token.
pub(super) type SignedIn = RestCatalog;

pub(super) struct Sessions {
    uri: String,
    warehouse: Option<String>,
    auth: RestAuth,
    storage: Arc<dyn StorageFactory>,
    current: Mutex<Option<Session>>,
}

struct Session {
    catalog: Arc<SignedIn>,
    /// None if it lasts.
    until: Option<Instant>,
}

/// The answer of a token endpoint (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the token nor the library's catalog, which shows the headers that it sends.
        let Self { uri, warehouse, auth, .. } = self;
        formatter
            .debug_struct("Sessions")
            .field("uri", uri)
            .field("warehouse", warehouse)
            .field("auth", auth)
            .finish()
    }
}

impl Sessions {
    pub(super) fn new(
        uri: &str,
        warehouse: Option<&str>,
        auth: &RestAuth,
        storage: Arc<dyn StorageFactory>,
    ) -> Result<Self> {
        let is_secret = !matches!(auth, RestAuth::None);
        check(uri, "FRAZIL_CATALOG_URI", is_secret)?;
        if let RestAuth::OAuth { server_uri: Some(server_uri), .. } = auth {
            check(server_uri, "FRAZIL_CATALOG_OAUTH2_SERVER_URI", is_secret)?;
        }
        Ok(Self {
            uri: uri.trim_end_matches('/').to_owned(),
            warehouse: warehouse.map(str::to_owned),
            auth: auth.clone(),
            storage,
            current: Mutex::new(None),
        })
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The catalog, signed in.
    pub(super) async fn current(&self) -> Result<Arc<SignedIn>> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current
            && session.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(session.catalog.clone());
        }
        let session = self.sign_in().await?;
        let catalog = session.catalog.clone();
        *current = Some(session);
        Ok(catalog)
    }

    /// Whether a token that is refused can be replaced.
    pub(super) fn can_renew(&self) -> bool {
        matches!(self.auth, RestAuth::OAuth { .. })
    }

    /// The next request signs in anew.
    pub(super) async fn forget(&self) {
        if self.can_renew() {
            *self.current.lock().await = None;
        }
    }

    async fn sign_in(&self) -> Result<Session> {
        let (token, until) = match &self.auth {
            RestAuth::None => (None, None),
            RestAuth::Token(token) => (Some(token.clone()), None),
            RestAuth::OAuth { credential, server_uri, scope } => {
                let asked = Instant::now();
                let scope = scope.as_deref().unwrap_or(SCOPE);
                let own = format!("{}/v1/oauth/tokens", self.uri);
                let token = exchange(server_uri.as_deref().unwrap_or(&own), credential, scope).await?;
                let lifetime = token.expires_in.map_or(UNTOLD_LIFETIME, Duration::from_secs);
                // Before its end, so that a request that has been sent is not refused on the way.
                let used = lifetime.saturating_sub((lifetime / 10).max(REQUEST_TIMEOUT));
                (Some(Secret::new(token.access_token)), asked.checked_add(used))
            }
        };
        let mut properties = HashMap::from([(REST_CATALOG_PROP_URI.to_owned(), self.uri.clone())]);
        properties.extend(self.warehouse.clone().map(|name| (REST_CATALOG_PROP_WAREHOUSE.to_owned(), name)));
        let catalog = RestCatalogBuilder::default()
            .with_client(client(token.as_ref(), token.is_some() && !is_loopback(&self.uri))?)
            .with_storage_factory(self.storage.clone())
            .load(CATALOG_NAME, properties)
            .await?;
        Ok(Session { catalog: Arc::new(catalog), until })
    }
}

/// An HTTP client that sends `token`. If `tls_only`, it follows no redirection to plain HTTP either.
fn client(token: Option<&Secret>, tls_only: bool) -> Result<Client> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let header = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
        let mut header = header.map_err(|_| {
            Error::new(ErrorKind::DataInvalid, "the catalog's token has characters that no header can have")
        })?;
        header.set_sensitive(true);
        headers.insert(AUTHORIZATION, header);
    }
    let client = Client::builder()
        .https_only(tls_only)
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .build();
    client.map_err(|error| Error::new(ErrorKind::Unexpected, format!("no HTTP client: {}", causes(&error))))
}

/// Client credentials -> a token (RFC 6749, 4.4).
async fn exchange(server_uri: &str, credential: &Secret, scope: &str) -> Result<Token> {
    let failed = |what: String| {
        Error::new(
            ErrorKind::Unexpected,
            format!("cannot sign in to the REST catalog at {server_uri}: {what}"),
        )
    };
    let mut form = vec![("grant_type", "client_credentials"), ("scope", scope)];
    match credential.reveal().split_once(':') {
        Some((id, secret)) => form.extend([("client_id", id), ("client_secret", secret)]),
        None => form.push(("client_secret", credential.reveal())),
    }
    let answer = client(None, !is_loopback(server_uri))?.post(server_uri).form(&form).send().await;
    let answer = answer.map_err(|error| {
        failed(format!("{}. See FRAZIL_CATALOG_OAUTH2_SERVER_URI and FRAZIL_CATALOG_URI", causes(&error)))
            .with_retryable(true)
    })?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| failed(causes(&error)).with_retryable(true))?;
    if !status.is_success() {
        let remedy = "See FRAZIL_CATALOG_CREDENTIAL, FRAZIL_CATALOG_SCOPE, \
                      FRAZIL_CATALOG_OAUTH2_SERVER_URI and FRAZIL_CATALOG_URI";
        let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let error = failed(format!(
            "it answers {status}{}. {remedy}",
            reason(&serde_json::from_slice(&body).unwrap_or_default())
        ));
        return Err(error.with_retryable(may_pass));
    }
    // The error of the parser could show the token.
    serde_json::from_slice(&body).map_err(|_| failed("its answer holds no access_token".to_owned()))
}

/// The reason that a server gives for a refusal (RFC 6749, 5.2, or the REST catalog's own shape).
pub(super) fn reason(answer: &serde_json::Value) -> String {
    let texts = [&answer["error_description"], &answer["error"]["message"], &answer["error"]];
    texts.into_iter().find_map(|text| text.as_str()).map_or(String::new(), |text| format!(" ({text})"))
}

/// Refuses a URI that no request can go to, that should not be shown, or to which nothing secret may be sent.
fn check(uri: &str, variable: &str, is_secret: bool) -> Result<()> {
    let wrong = |what: String| {
        Err(Error::new(
            ErrorKind::DataInvalid,
            format!("{variable}: {what}; expected https://HOST, without /v1"),
        ))
    };
    if uri.contains('@') {
        return wrong("a URI with credentials in it ends up in logs".to_owned());
    }
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "http" && is_secret && !is_loopback(uri) => {
            wrong(format!("{uri} would send the token or credential in plain text"))
        }
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(()),
        Ok(_) => wrong(format!("{uri} is neither http nor https")),
        Err(error) => wrong(format!("{uri} is no URI ({error})")),
    }
}

/// Whether requests to `uri` stay on this machine.
fn is_loopback(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}
