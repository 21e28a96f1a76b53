//! Deleting objects, one or many at a time. What does not exist is as good as deleted.

use std::collections::HashMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use iceberg::{Error, ErrorKind, Result};

use super::connection::Connection;
use super::error::{Action, failed};
use super::location::Location;

/// Keys that S3 takes in one request.
const KEYS_AT_ONCE: usize = 1000;

pub(super) async fn one(s3: &Connection, at: &Location) -> Result<()> {
    let request = s3.client.delete_object().bucket(&at.bucket).key(&at.key);
    request.send().await.map(|_| ()).map_err(|error| failed(s3, Action::Delete, at, &error))
}

/// Deletes all objects whose keys begin with the key of `prefix`.
pub(super) async fn below(s3: &Connection, prefix: &Location) -> Result<()> {
    let request = s3.client.list_objects_v2().bucket(&prefix.bucket).prefix(&prefix.key);
    let mut pages = request.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed(s3, Action::List, prefix, &error))?;
        let keys: Vec<String> = page.contents.into_iter().flatten().filter_map(|object| object.key).collect();
        batch(s3, prefix, keys).await?;
    }
    Ok(())
}

/// Deletes the objects at `uris`.
pub(super) async fn all(s3: &Connection, uris: BoxStream<'static, String>) -> Result<()> {
    let mut chunks = uris.chunks(KEYS_AT_ONCE);
    while let Some(uris) = chunks.next().await {
        let mut by_bucket: HashMap<String, (Location, Vec<String>)> = HashMap::new();
        for uri in uris {
            let at = Location::parse(&uri)?;
            let key = at.key.clone();
            by_bucket.entry(at.bucket.clone()).or_insert_with(|| (at, Vec::new())).1.push(key);
        }
        for (at, keys) in by_bucket.into_values() {
            batch(s3, &at, keys).await?;
        }
    }
    Ok(())
}

/// Deletes `keys` of the bucket of `at`.
async fn batch(s3: &Connection, at: &Location, keys: Vec<String>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let objects: std::result::Result<Vec<_>, _> =
        keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
    let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
    let delete = delete.map_err(|error| {
        Error::new(ErrorKind::Unexpected, format!("cannot delete {}", at.uri)).with_source(error)
    })?;
    let request = s3.client.delete_objects().bucket(&at.bucket).delete(delete);
    let answer = request.send().await.map_err(|error| failed(s3, Action::Delete, at, &error))?;
    match answer.errors() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let (key, code) = (first.key().unwrap_or_default(), first.code().unwrap_or_default());
            let message = first.message().unwrap_or_default();
            let mut what = format!("cannot delete s3://{}/{key}: {code}: {message}", at.bucket);
            if !rest.is_empty() {
                what += &format!(", nor {} other objects", rest.len());
            }
            Err(Error::new(ErrorKind::Unexpected, what))
        }
    }
}
