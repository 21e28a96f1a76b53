//! Listing objects, page by page.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::types::Object;
use futures::stream::{self, BoxStream, StreamExt as _};
use iceberg::{Error, ErrorKind, Result};

use super::super::list::ListedFile;
use super::connection::Connection;
use super::error::{Action, failed};
use super::location::Location;

/// Where a listing stands.
enum Next {
    /// Before the first page.
    Begin,
    /// Objects that were listed, and what asks for the next page.
    Page(VecDeque<Object>, Option<String>),
}

/// The objects whose keys begin with the key of `prefix`, which may be empty.
pub(super) fn below(s3: Arc<Connection>, prefix: Location) -> BoxStream<'static, Result<ListedFile>> {
    stream::try_unfold((s3, prefix, Next::Begin), async |(s3, prefix, mut next)| {
        loop {
            let token = match next {
                Next::Begin => None,
                Next::Page(mut objects, token) => match (objects.pop_front(), token) {
                    (Some(object), token) => {
                        let file = listed(&prefix, object)?;
                        return Ok(Some((file, (s3, prefix, Next::Page(objects, token)))));
                    }
                    (None, None) => return Ok(None),
                    (None, token) => token,
                },
            };
            next = page(&s3, &prefix, token).await?;
        }
    })
    .boxed()
}

async fn page(s3: &Connection, prefix: &Location, token: Option<String>) -> Result<Next> {
    let request = s3.client.list_objects_v2().bucket(&prefix.bucket).prefix(&prefix.key);
    let answer = request.set_continuation_token(token).send().await;
    let answer = answer.map_err(|error| failed(s3, Action::List, prefix, &error))?;
    let token = answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true));
    Ok(Next::Page(answer.contents.unwrap_or_default().into(), token))
}

fn listed(prefix: &Location, object: Object) -> Result<ListedFile> {
    let modified = object.last_modified.and_then(|time| SystemTime::try_from(time).ok());
    let size = object.size.and_then(|size| u64::try_from(size).ok());
    match (object.key, size, modified) {
        (Some(key), Some(size_bytes), Some(modified)) => {
            // The folder as it was asked for, whatever its scheme.
            let folder = prefix.uri.strip_suffix(&prefix.key).unwrap_or(&prefix.uri);
            Ok(ListedFile { uri: format!("{folder}{key}"), size_bytes, modified })
        }
        (key, ..) => {
            let what = format!(
                "S3 lists {:?} below {} without its size or age",
                key.unwrap_or_default(),
                prefix.uri
            );
            Err(Error::new(ErrorKind::Unexpected, what))
        }
    }
}
