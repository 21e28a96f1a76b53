//! The tables that rows are put back into, and what Firehose could not process for them.
//!
//! In: the lake, and the files of the quarantine. Out: each table with a handler of append; the objects under Firehose's error
//! prefix that are in none of them. Refused: error objects where nothing tells which table they are for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use append::config::{Config, branch};
use append::handler::Appender;
use futures::TryStreamExt as _;
use lake::quarantine::Ledger;
use lake::{ObjectVersion, Token};

use super::quarantine::QuarantineFile;
use super::{Redrive, Target, now_millis, topics};
use crate::place::ident_of;
use crate::replay::firehose::DeliveredObject;

impl Redrive<'_> {
    /// The tables of the lake by name, and those that the quarantine names.
    pub(super) async fn targets(
        &self,
        named: Option<&str>,
        quarantine: &[QuarantineFile],
    ) -> anyhow::Result<BTreeMap<String, Target>> {
        let listing = self.site.tables(named).await?;
        if let (Some(folders), false) = (&self.site.folders, listing.damage.is_empty()) {
            bail!("{} is damaged: {}", folders.catalog().display(), listing.damage.join("; "));
        }
        let mut names: BTreeSet<String> = listing.tables.into_iter().map(|table| table.name).collect();
        // A catalog elsewhere is not listed: the stream may have fed other tables before.
        if self.site.folders.is_none() {
            let of_files = quarantine.iter().map(|file| file.name.table.clone());
            names.extend(of_files.filter(|name| name != topics::NO_TABLE && ident_of(name).is_ok()));
        }
        let lake = self.site.lake().await?;
        let mut targets = BTreeMap::new();
        for name in names {
            let ident = ident_of(&name)?;
            // A table that is dropped just now is one that there is not.
            let Some(table) = lake.table(&ident).await? else { continue };
            let appender = Appender::open(Config {
                catalog: self.site.catalog.clone(),
                errors: self.layout.errors.clone(),
                branch: branch(&self.site.environment)?,
                source_root: self.layout.source_root.clone(),
                table: ident.clone(),
                definition: None,
                routes: None,
                limits: self.limits(),
                unpack: self.unpack.clone(),
                s3: self.site.s3.clone(),
            })
            .await?;
            let metadata = table.metadata_ref();
            let ledger = Ledger::of(table.metadata(), table.file_io()).await;
            targets.insert(name, Target { ident, appender, metadata, ledger });
        }
        Ok(targets)
    }

    /// How many objects that Firehose wrote under its error prefix are in a table, and the others.
    pub(super) async fn error_objects(
        &self,
        targets: &BTreeMap<String, Target>,
    ) -> anyhow::Result<(usize, Vec<DeliveredObject>)> {
        let (mut known, mut failed) = (0, Vec::new());
        let mut listed = self.files.list(&self.layout.processing_failed)?;
        while let Some(file) = listed.try_next().await? {
            if self.layout.is_unfinished(&file.uri) {
                continue;
            }
            let place = self.layout.place(&file.uri).with_context(|| format!("{} lies nowhere", file.uri))?;
            let (bucket, key) =
                place.split_once('/').with_context(|| format!("{} is in no bucket", file.uri))?;
            // Gone since it was listed.
            let Some(version) = self.files.version(&file.uri).await? else { continue };
            let ObjectVersion { etag, version_id } = version;
            let token = Token::new(bucket, key, version_id.as_deref().unwrap_or(&etag));
            if targets.values().any(|target| target.ledger.has(&token)) {
                known += 1;
                continue;
            }
            failed.push(DeliveredObject {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                size_bytes: file.size_bytes,
                etag,
                version_id,
                delivered_millis: Some(now_millis()),
            });
        }
        failed.sort_by(|one, other| one.key.cmp(&other.key));
        Ok((known, failed))
    }
}

/// The table that takes what Firehose could not process, in so many objects: nothing in them tells.
pub(super) fn of_failed<'a>(
    targets: &'a BTreeMap<String, Target>,
    named: Option<&str>,
    objects: usize,
) -> anyhow::Result<Option<&'a Target>> {
    let names = targets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match named {
        Some(name) => match targets.get(name) {
            Some(target) => Ok(Some(target)),
            None => bail!("--table {name}: there is no such table; there are: {names}"),
        },
        None if objects == 0 || targets.len() == 1 => Ok(targets.values().next()),
        None if targets.is_empty() => bail!(
            "errors/processing-failed has {objects} objects, but there is no table for their records; \
             create one first, for instance with a replay"
        ),
        None => bail!(
            "errors/processing-failed has {objects} objects, and nothing tells which table their records are for; \
             choose one with --table: {names}"
        ),
    }
}
