//! Which lake a command works on: the folder of one on this machine, or the one that append is told of.
//!
//! In: the arguments that all such commands share, and the environment. Out: a [`Site`]. Without a folder and where nothing
//! names a catalog it is the lake in `.frazil`; else the variables of append count, those of FRAZIL_TABLE's catalog, of S3 and of
//! the quarantine, and the arguments go before them. Refused: what append refuses of its variables.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use append::config::{CatalogConfig, table_ident};
use append::routes::routes;
use iceberg::{ErrorKind, NamespaceIdent, TableIdent};
use lake::audit::ListedTable;
use lake::{Lake, Layout, S3Config};
use lambda::env::Environment;

use crate::warehouse::{Folders, Listing, list_tables};

const DEFAULT_FOLDER: &str = ".frazil";
const CATALOG: &str = "FRAZIL_CATALOG";
const CATALOG_URI: &str = "FRAZIL_CATALOG_URI";
const ERRORS: &str = "FRAZIL_ERRORS";
const SOURCE_ROOT: &str = "FRAZIL_SOURCE_ROOT";
const RAW_BUCKET: &str = "FRAZIL_RAW_BUCKET";
const TABLE: &str = "FRAZIL_TABLE";
/// Where objects are that append is told of, unless it is told otherwise.
const S3: &str = "s3://";

/// Which lake.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Folder of a lake on this machine, with its catalog, its tables, the raw objects and what was rejected; .frazil unless
    /// --catalog or the variables of append name a catalog.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) warehouse: Option<PathBuf>,
    /// The catalog, instead of FRAZIL_CATALOG: glue, rest, s3tables or sqlite. What else append is told by variables counts here,
    /// too.
    #[arg(long, global = true, value_name = "KIND", conflicts_with = "warehouse")]
    catalog: Option<String>,
    /// Where the catalog is, instead of FRAZIL_CATALOG_URI: the URI of a REST catalog, the ARN of an S3 table bucket, the path of
    /// a SQLite file.
    #[arg(long, global = true, value_name = "URI", conflicts_with = "warehouse")]
    catalog_uri: Option<String>,
}

/// Where the objects of a lake elsewhere lie, and which of its tables count.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Stream {
    /// The URI of the bucket that Firehose delivers to, under raw/ and errors/processing-failed/, instead of FRAZIL_RAW_BUCKET.
    #[arg(long, value_name = "URI", conflicts_with = "warehouse")]
    raw_bucket: Option<String>,
    /// Where append keeps what it rejects, instead of FRAZIL_ERRORS.
    #[arg(long, value_name = "URI", conflicts_with = "warehouse")]
    errors: Option<String>,
}

/// A lake.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) environment: Environment,
    pub(crate) catalog: CatalogConfig,
    pub(crate) s3: S3Config,
    /// Set if it is the lake in a folder.
    pub(crate) folders: Option<Folders>,
}

impl Place {
    /// The lake that is meant.
    ///
    /// # Errors
    /// Which variable is missing or wrong; a folder that cannot be that of a lake.
    pub(crate) fn site(&self, environment: &Environment) -> anyhow::Result<Site> {
        let environment = self.over(environment);
        if self.warehouse.is_none()
            && [CATALOG, CATALOG_URI].iter().any(|name| environment.text(name).is_some())
        {
            let (catalog, s3) = (settings::catalog(&environment)?, settings::s3(&environment)?);
            return Ok(Site { environment, catalog, s3, folders: None });
        }
        let folder = self.warehouse.clone().unwrap_or_else(|| DEFAULT_FOLDER.into());
        let folders = Folders::new(&folder)?;
        let (catalog, s3) = (folders.catalog_config(), S3Config::default());
        Ok(Site { environment, catalog, s3, folders: Some(folders) })
    }

    /// `environment`, but for what the arguments say.
    fn over(&self, environment: &Environment) -> Environment {
        let arguments = [(CATALOG, &self.catalog), (CATALOG_URI, &self.catalog_uri)];
        let given = arguments.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        given.fold(environment.clone(), |environment, (name, value)| environment.with(name, value))
    }
}

impl Site {
    /// Opens the catalog, which must be there.
    ///
    /// # Errors
    /// It cannot be opened, or this program was built without it; there is no lake in the folder, or it was moved there.
    pub(crate) async fn lake(&self) -> anyhow::Result<Lake> {
        if let Some(folders) = &self.folders {
            folders.existing_catalog()?;
            folders.require_home().await?;
        }
        self.open().await
    }

    /// As [`Site::lake`], but a folder becomes that of a lake if it is none yet.
    ///
    /// # Errors
    /// The catalog's.
    pub(crate) async fn new_lake(&self) -> anyhow::Result<Lake> {
        if let Some(folders) = &self.folders {
            folders.create()?;
            folders.require_home().await?;
        }
        self.open().await
    }

    /// What it is called: the folder, or the kind of its catalog.
    pub(crate) fn name(&self) -> String {
        match &self.folders {
            Some(folders) => folders.root.display().to_string(),
            None => self.catalog.name().to_owned(),
        }
    }

    /// Where the objects of the stream lie, and what was rejected of them.
    ///
    /// # Errors
    /// Neither `stream` nor the environment says so.
    pub(crate) fn layout(&self, stream: &Stream) -> anyhow::Result<Layout> {
        if let Some(folders) = &self.folders {
            if stream.raw_bucket.is_some() || stream.errors.is_some() {
                bail!("--raw-bucket and --errors are for a lake elsewhere: name its catalog with --catalog");
            }
            return Ok(folders.layout());
        }
        let said = |argument: &Option<String>, name: &'static str, expected| match argument {
            Some(uri) => Ok(uri.clone()),
            None => self.environment.required(name, expected).map(str::to_owned),
        };
        let errors = said(&stream.errors, ERRORS, "the URI of a folder for rejected rows, or --errors")?;
        let expected = "the URI of the bucket that Firehose delivers to, or --raw-bucket";
        let delivered = said(&stream.raw_bucket, RAW_BUCKET, expected)?;
        let source_root = self.environment.text(SOURCE_ROOT).unwrap_or(S3);
        if !delivered.starts_with(source_root) {
            bail!("--raw-bucket {delivered}: expected a URI that begins with {source_root}");
        }
        Ok(Layout::of_bucket(source_root, &delivered, &errors))
    }

    /// As [`Site::layout`], but delivered objects are no matter.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn swept_layout(&self, stream: &Stream) -> anyhow::Result<Layout> {
        if self.folders.is_some() {
            return self.layout(stream);
        }
        let said = stream.raw_bucket.as_deref().or_else(|| self.environment.text(RAW_BUCKET));
        let delivered = said.unwrap_or(self.environment.text(SOURCE_ROOT).unwrap_or(S3)).to_owned();
        self.layout(&Stream { raw_bucket: Some(delivered), ..stream.clone() })
    }

    /// The same, where nothing is known of the quarantine either.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn announced_layout(&self, stream: &Stream) -> anyhow::Result<Layout> {
        if self.folders.is_some() {
            return self.layout(stream);
        }
        let said = stream.errors.as_deref().or_else(|| self.environment.text(ERRORS));
        self.swept_layout(&Stream { errors: Some(said.unwrap_or_default().to_owned()), ..stream.clone() })
    }

    /// The table that remembers a stream's objects, of which it may be one of many; of a folder all tables.
    ///
    /// # Errors
    /// As [`Site::tables`].
    pub(crate) async fn remembering(&self, named: Option<&str>) -> anyhow::Result<Vec<TableIdent>> {
        match (&self.folders, named) {
            (None, named) => Ok(vec![self.own(named)?]),
            (Some(_), Some(named)) => Ok(vec![ident_of(named)?]),
            (Some(_), None) => {
                let tables = self.tables(None).await?.tables;
                tables.iter().map(|table| ident_of(&table.name)).collect()
            }
        }
    }

    /// The stream's own table.
    fn own(&self, named: Option<&str>) -> anyhow::Result<TableIdent> {
        match named {
            Some(name) => ident_of(name),
            None => ident_of(self.environment.required(TABLE, "NAMESPACE.NAME, or --table")?),
        }
    }

    /// Refuses the table that is `named` where all of a folder's tables count.
    ///
    /// # Errors
    /// It is named, and the lake is in a folder.
    pub(crate) fn refuse_one_of_folder(&self, named: Option<&str>) -> anyhow::Result<()> {
        match (&self.folders, named) {
            (Some(folders), Some(named)) => bail!(
                "--table {named}: of the lake in {} all tables count; name the catalog of another with --catalog",
                folders.root.display()
            ),
            _ => Ok(()),
        }
    }

    /// The tables of a stream. In a folder these are all; in a catalog the one that is `named`, else FRAZIL_TABLE, and where the
    /// records of the stream name their tables, those in the namespaces of these.
    ///
    /// # Errors
    /// The catalog's; none is named.
    pub(crate) async fn tables(&self, named: Option<&str>) -> anyhow::Result<Listing> {
        if let Some(folders) = &self.folders {
            return list_tables(&folders.catalog()).await;
        }
        let lake = self.open().await?;
        let mut listing = Listing::default();
        for ident in self.idents(&lake, named).await? {
            // A table that is dropped just now is one that there is not.
            let Some(table) = lake.table(&ident).await.with_context(|| ident.to_string())? else { continue };
            let metadata_location = table.metadata_location_result()?.to_owned();
            listing.tables.push(ListedTable { name: ident.to_string(), metadata_location });
        }
        Ok(listing)
    }

    async fn idents(&self, lake: &Lake, named: Option<&str>) -> anyhow::Result<Vec<TableIdent>> {
        let own = self.own(named)?;
        let Some(routes) = routes(&self.environment, &own)? else { return Ok(vec![own]) };
        let namespaces: BTreeSet<NamespaceIdent> =
            routes.namespaces().chain([own.namespace().clone()]).collect();
        let mut tables = Vec::new();
        for namespace in namespaces {
            match lake.catalog().list_tables(&namespace).await {
                Ok(found) => tables.extend(found),
                Err(error) if error.kind() == ErrorKind::NamespaceNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(tables)
    }

    async fn open(&self) -> anyhow::Result<Lake> {
        Lake::open(&self.catalog, &self.s3).await.context("cannot open the catalog")
    }
}

/// The table that `NAMESPACE.NAME` names.
pub(crate) fn ident_of(name: &str) -> anyhow::Result<TableIdent> {
    match table_ident(name) {
        Some(ident) => Ok(ident),
        None => bail!("{name}: expected NAMESPACE.NAME"),
    }
}

/// The names of all tables of a catalog, in order.
///
/// # Errors
/// The catalog's.
pub(crate) async fn table_names(lake: &Lake) -> anyhow::Result<Vec<TableIdent>> {
    let catalog = lake.catalog();
    let mut tables = Vec::new();
    for namespace in catalog.list_namespaces(None).await? {
        tables.extend(catalog.list_tables(&namespace).await?);
    }
    tables.sort_by_key(ToString::to_string);
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_before_arguments_and_these_before_the_environment() {
        let none = Environment::default();
        let glue = Environment::from_iter([("FRAZIL_CATALOG", "glue"), ("FRAZIL_S3_PATH_STYLE", "true")]);
        let site = |place: &Place, environment: &Environment| place.site(environment).unwrap();
        let by_default = site(&Place::default(), &none);
        assert!(by_default.folders.unwrap().root.ends_with(".frazil"));
        let folder = Place { warehouse: Some("w".into()), ..Place::default() };
        assert!(site(&folder, &glue).folders.unwrap().root.ends_with("w"));
        let of_append = site(&Place::default(), &glue);
        assert_eq!((of_append.catalog.name(), of_append.s3.path_style), ("glue", Some(true)));
        assert!(of_append.folders.is_none());
        let rest = Place {
            catalog: Some("rest".into()),
            catalog_uri: Some("http://lake".into()),
            ..Place::default()
        };
        assert_eq!(site(&rest, &glue).catalog.name(), "rest");
        // What would be passed over is refused.
        let in_folder = site(&folder, &glue);
        assert!(in_folder.refuse_one_of_folder(Some("a.b")).is_err());
        assert!(in_folder.layout(&Stream::default()).is_ok());
        let elsewhere = Stream { errors: Some("s3://b/errors".into()), ..Stream::default() };
        assert!(in_folder.layout(&elsewhere).is_err() && in_folder.swept_layout(&elsewhere).is_err());
        let glue = site(&Place::default(), &glue);
        assert!(glue.refuse_one_of_folder(Some("a.b")).is_ok() && glue.swept_layout(&elsewhere).is_ok());
        assert!(glue.layout(&elsewhere).unwrap_err().to_string().starts_with("FRAZIL_RAW_BUCKET is not set"));
        let error = Place { catalog: Some("s3tables".into()), ..Place::default() }.site(&none).unwrap_err();
        assert!(error.to_string().starts_with("FRAZIL_CATALOG_URI is not set"), "{error}");
    }
}
