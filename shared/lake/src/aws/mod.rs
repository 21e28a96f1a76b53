//! The AWS configuration of the process: one credential chain and one HTTP client for every service.
//!
//! In: what all AWS tools read: environment variables, profile, container and instance metadata. Out: an [`SdkConfig`],
//! loaded when it is first asked for: a process that touches only local files needs none of this.

mod fault;
#[cfg(feature = "sqs")]
mod queue;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

pub(crate) use self::fault::{Fault, fault_of};
#[cfg(feature = "sqs")]
pub use self::queue::SqsQueue;

/// A service in the same region answers a connection within milliseconds.
const CONNECT: Duration = Duration::from_secs(2);
/// One attempt, from the request's first byte to the head of the answer.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);
/// All attempts of one operation. What fails for longer is delivered again.
pub(crate) const OPERATION: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 5;
/// The pause before the second attempt at most; it doubles with each attempt.
const BACKOFF: Duration = Duration::from_millis(500);
/// How long a connection is kept. One that is older when a frozen function wakes up is dead.
const IDLE: Duration = Duration::from_secs(20);
/// How long a body may stand still.
const STALLED: Duration = Duration::from_secs(10);

static CONFIG: OnceCell<SdkConfig> = OnceCell::const_new();

/// The configuration of the process.
pub(crate) async fn sdk_config() -> &'static SdkConfig {
    CONFIG.get_or_init(|| loader().load()).await
}

/// How the configuration is read.
pub(crate) fn loader() -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new().pool_idle_timeout(IDLE);
    let tls = Provider::Rustls(CryptoMode::Ring);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION);
    // By number: another version may bring other time-outs and checksums.
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.tls_provider(tls).build_https())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALLED).build())
}
