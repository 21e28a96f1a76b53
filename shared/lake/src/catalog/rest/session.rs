//! A way to sign in -> where to send requests, signed in.
//!
//! In: the server's URI and [`RestAuth`]. Out: a [`Session`], whose HTTP client sends the token, and which goes by what the
//! server says of itself (`GET /v1/config`). The token stands in a header that is marked as sensitive and nowhere else. A
//! token that was given for a time is replaced before its end, one that was refused is forgotten.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iceberg::{Error, ErrorKind, Result};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::config::{RestAuth, Secret};
use super::failure::{Failure, kind_of};
use super::request::{Base, parse};
use crate::causes::causes;
use crate::error::Kind;

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

/// For what may be sent again.
pub(super) const ATTEMPTS: u32 = 3;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Between the levels of a namespace, if the server says nothing else: the unit separator, encoded.
const SEPARATOR: &str = "%1F";
/// What the server's configuration calls headers that it wants.
const HEADER: &str = "header.";

pub(super) struct Sessions {
    uri: String,
    warehouse: Option<String>,
    auth: RestAuth,
    current: Mutex<Option<Arc<Session>>>,
}

pub(super) struct Session {
    pub(super) base: Base,
    /// None if it lasts.
    until: Option<Instant>,
}

/// What a server says of itself. Its overrides go before its defaults.
#[derive(Deserialize)]
struct ServerConfig {
    #[serde(default)]
    defaults: HashMap<String, Option<String>>,
    #[serde(default)]
    overrides: HashMap<String, Option<String>>,
}

/// The answer of a token endpoint (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the session, whose client holds the token.
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
    pub(super) fn new(uri: &str, warehouse: Option<&str>, auth: &RestAuth) -> Result<Self> {
        let is_secret = !matches!(auth, RestAuth::None);
        check(uri, "FRAZIL_CATALOG_URI", is_secret)?;
        if let RestAuth::OAuth { server_uri: Some(server_uri), .. } = auth {
            check(server_uri, "FRAZIL_CATALOG_OAUTH2_SERVER_URI", is_secret)?;
        }
        Ok(Self {
            uri: uri.trim_end_matches('/').to_owned(),
            warehouse: warehouse.map(str::to_owned),
            auth: auth.clone(),
            current: Mutex::new(None),
        })
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The session, which is begun if there is none.
    pub(super) async fn current(&self) -> std::result::Result<Arc<Session>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current
            && session.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(session.clone());
        }
        let mut attempt = 1;
        let session = loop {
            match self.sign_in().await {
                Err(failure) if attempt < ATTEMPTS && failure.may_pass() => {
                    tokio::time::sleep(FIRST_PAUSE * attempt).await;
                    attempt += 1;
                }
                session => break Arc::new(session?),
            }
        };
        *current = Some(session.clone());
        Ok(session)
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

    async fn sign_in(&self) -> std::result::Result<Session, Failure> {
        let (token, until) = match &self.auth {
            RestAuth::None => (None, None),
            RestAuth::Token(token) => (Some(token.clone()), None),
            RestAuth::OAuth { credential, server_uri, scope } => {
                let asked = Instant::now();
                let scope = scope.as_deref().unwrap_or(SCOPE);
                let own = format!("{}/v1/oauth/tokens", self.uri);
                let token = exchange(server_uri.as_deref().unwrap_or(&own), credential, scope).await;
                let token = token.map_err(Failure::NoSession)?;
                let lifetime = token.expires_in.map_or(UNTOLD_LIFETIME, Duration::from_secs);
                // Before its end, so that a request that has been sent is not refused on the way.
                let used = lifetime.saturating_sub((lifetime / 10).max(REQUEST_TIMEOUT));
                (Some(Secret::new(token.access_token)), asked.checked_add(used))
            }
        };
        let client = client(token.as_ref(), token.is_some() && !is_loopback(&self.uri));
        let client = client.map_err(Failure::NoSession)?;
        let uri = format!("{}/v1", self.uri);
        let base = Base { client, uri, headers: HeaderMap::new(), separator: SEPARATOR.to_owned() };
        let query = self.warehouse.clone().map(|name| ("warehouse", name)).into_iter().collect();
        let asked = base.send(Method::GET, "config", &query, None).await;
        // A place that has no configuration has no catalog: that is no missing table.
        let config = asked
            .and_then(|answer| parse(&answer))
            .map_err(|failure| Failure::NoSession(failure.error(&self.uri)))?;
        Ok(Session { base: self.told_by(config, base)?, until })
    }

    /// `base` as the server wants it.
    fn told_by(&self, config: ServerConfig, base: Base) -> std::result::Result<Base, Failure> {
        let ServerConfig { defaults, overrides } = config;
        let text = |name: &str| overrides.get(name).or_else(|| defaults.get(name)).cloned().flatten();
        let uri = match overrides.get("uri").cloned().flatten() {
            Some(uri) => {
                let is_secret = !matches!(self.auth, RestAuth::None);
                check(&uri, "the URI that the REST catalog gives", is_secret).map_err(Failure::NoSession)?;
                uri.trim_end_matches('/').to_owned()
            }
            None => self.uri.clone(),
        };
        let prefix = text("prefix").filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map_or(String::new(), |prefix| format!("/{}", prefix.trim_matches('/')));
        let mut headers = HeaderMap::new();
        for (name, value) in defaults.iter().chain(&overrides) {
            let header = name.strip_prefix(HEADER).zip(value.as_deref());
            let header = header.and_then(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
            });
            // Who we are, we say ourselves.
            if let Some((name, value)) = header.filter(|(name, _)| *name != AUTHORIZATION) {
                headers.insert(name, value);
            }
        }
        let separator = text("namespace-separator").unwrap_or(base.separator);
        Ok(Base { uri: format!("{uri}/v1{prefix}"), headers, separator, client: base.client })
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
    client.map_err(|error| Kind::Misconfigured.error(format!("no HTTP client: {}", causes(&error))))
}

/// Client credentials -> a token (RFC 6749, 4.4).
async fn exchange(server_uri: &str, credential: &Secret, scope: &str) -> Result<Token> {
    let failed = |kind: Kind, what: String| {
        kind.error(format!("cannot sign in to the REST catalog at {server_uri}: {what}"))
    };
    let mut form = vec![("grant_type", "client_credentials"), ("scope", scope)];
    match credential.reveal().split_once(':') {
        Some((id, secret)) => form.extend([("client_id", id), ("client_secret", secret)]),
        None => form.push(("client_secret", credential.reveal())),
    }
    let answer = client(None, !is_loopback(server_uri))?.post(server_uri).form(&form).send().await;
    let answer = answer.map_err(|error| {
        let what = format!("{}. See FRAZIL_CATALOG_OAUTH2_SERVER_URI and FRAZIL_CATALOG_URI", causes(&error));
        failed(Kind::Unavailable, what)
    })?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| failed(Kind::Unavailable, causes(&error)))?;
    if !status.is_success() {
        let remedy = "See FRAZIL_CATALOG_CREDENTIAL, FRAZIL_CATALOG_SCOPE, \
                      FRAZIL_CATALOG_OAUTH2_SERVER_URI and FRAZIL_CATALOG_URI";
        let reason = reason(&serde_json::from_slice(&body).unwrap_or_default());
        // Whom it does not know it answers with 400 or 401 (RFC 6749, 5.2).
        let kind = if status == StatusCode::BAD_REQUEST { Kind::Credentials } else { kind_of(status) };
        return Err(failed(kind, format!("it answers {status}{reason}. {remedy}")));
    }
    // The error of the parser could show the token.
    serde_json::from_slice(&body)
        .map_err(|_| failed(Kind::Misconfigured, "its answer holds no access_token".to_owned()))
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
