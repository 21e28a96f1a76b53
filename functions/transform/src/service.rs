//! Lambda's invocations -> answers, without a copy of either.
//!
//! In: an invocation's body as it came. Out: the answer, posted to the Runtime API from the buffer in which it was written,
//! which the next invocation uses again: fresh memory costs more than what is written into it. A failure is left to the
//! service below, the runtime's own. (The runtime hands a function an owned value, and serialises another one.)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_runtime::tower::Layer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, LambdaInvocation, Service};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{PooledClient, build_request};

/// Lambda's id of an invocation, to be sent back where it comes.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The function below [`AnswerLayer`]: fails with what the layer found.
pub(crate) async fn fail(event: LambdaEvent<Diagnostic>) -> Result<(), Diagnostic> {
    Err(event.payload)
}

/// Answers with what `write_answer` makes of an invocation's body.
pub(crate) struct AnswerLayer<W> {
    pub(crate) write_answer: W,
}

impl<S, W: Clone> Layer<S> for AnswerLayer<W> {
    type Service = AnswerService<S, W>;

    fn layer(&self, failing: S) -> Self::Service {
        let client = Arc::new(PooledClient::builder().with_pool_size(1).build());
        AnswerService { failing, write_answer: self.write_answer.clone(), client, answer: Bytes::new() }
    }
}

pub(crate) struct AnswerService<S, W> {
    failing: S,
    write_answer: W,
    client: Arc<PooledClient>,
    /// The last answer.
    answer: Bytes,
}

impl<S, W> Service<LambdaInvocation> for AnswerService<S, W>
where
    S: Service<LambdaInvocation, Response = (), Error = Error>,
    S::Future: 'static,
    W: Fn(&[u8], &mut Vec<u8>) -> Result<(), Diagnostic>,
{
    type Response = ();
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.failing.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        // What was sent is ours alone again. Were it not, this would be an empty vector.
        let mut answer = std::mem::take(&mut self.answer);
        answer.truncate(0);
        let mut answer = Vec::from(answer);
        match (self.write_answer)(&invocation.body, &mut answer) {
            Ok(()) => {
                self.answer = Bytes::from(answer);
                Box::pin(post(self.client.clone(), invocation, self.answer.clone()))
            }
            Err(diagnostic) => {
                self.answer = Bytes::from(answer);
                match serde_json::to_vec(&diagnostic) {
                    Ok(body) => invocation.body = body.into(),
                    Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
                }
                Box::pin(self.failing.call(invocation))
            }
        }
    }
}

/// Posts an answer (AWS: "Using the Lambda runtime API for custom runtimes", "Invocation response").
async fn post(client: Arc<PooledClient>, invocation: LambdaInvocation, answer: Bytes) -> Result<(), Error> {
    let path = format!("/2018-06-01/runtime/invocation/{}/response", invocation.context.request_id);
    let mut request = build_request().method("POST").uri(path);
    if let Some(id) = invocation.parts.headers.get(INVOCATION_ID) {
        request = request.header(INVOCATION_ID, id);
    }
    drop(invocation);
    let response = client.call(request.body(Body::from(answer))?).await?;
    let status = response.status();
    if !status.is_success() {
        // As the runtime does: Lambda has its reasons, and the next invocation comes.
        tracing::error!(%status, "Lambda did not take the answer");
    }
    Ok(())
}
