//! Glue's entry of a table: its name, the pointer to its metadata file, its columns for whoever browses the catalog, and what others
//! have written there.
//!
//! In: a table, and its entry so far. Out: the entry as it is to be. Nothing is dropped from an entry but its old
//! columns and pointers. Refused: entries that are no Iceberg tables, and names that Glue does not keep.

use aws_sdk_glue::types::{StorageDescriptor, Table as Entry, TableInput};
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, NamespaceIdent, Result, TableIdent};

use super::super::refused::database_of;
use super::columns;

/// The catalog, for people.
pub(super) const CATALOG: &str = "Glue";
const TABLE_TYPE: &str = "table_type";
const ICEBERG: &str = "ICEBERG";
const METADATA_LOCATION: &str = "metadata_location";
const PREVIOUS_METADATA_LOCATION: &str = "previous_metadata_location";
/// The table property that other libraries show as Glue's description.
const COMMENT: &str = "comment";
/// Glue's own type of tables whose files are not its own.
const EXTERNAL_TABLE: &str = "EXTERNAL_TABLE";

/// The name of the database `namespace`.
pub(super) fn database(namespace: &NamespaceIdent) -> Result<&str> {
    lower_case(database_of(namespace, CATALOG)?)
}

/// Glue keeps names in lower case: a name that is not would be another one there.
pub(super) fn lower_case(name: &str) -> Result<&str> {
    if name.chars().any(char::is_uppercase) {
        let what = format!(
            "{name} has upper-case letters, and Glue keeps names in lower case: say {}",
            name.to_lowercase()
        );
        return Err(Error::new(ErrorKind::DataInvalid, what));
    }
    Ok(name)
}

pub(super) fn no_database(namespace: &NamespaceIdent) -> Error {
    let what = format!(
        "Glue has no database {namespace}: create it, or see FRAZIL_TABLE and FRAZIL_GLUE_CATALOG_ID"
    );
    Error::new(ErrorKind::NamespaceNotFound, what)
}

/// Whether `code` says that there is no such database or table.
pub(super) fn is_missing(code: Option<&str>) -> bool {
    code == Some("EntityNotFoundException")
}

pub(super) fn is_iceberg(entry: &Entry) -> bool {
    parameter(entry, TABLE_TYPE).is_some_and(|kind| kind.eq_ignore_ascii_case(ICEBERG))
}

/// Where the metadata file of a table is.
pub(super) fn metadata_location<'a>(entry: &'a Entry, ident: &TableIdent) -> Result<&'a str> {
    let refused = |what: String| Err(Error::new(ErrorKind::DataInvalid, what));
    if let Some(target) = &entry.target_table {
        let (catalog, database, name) = (target.catalog_id(), target.database_name(), target.name());
        return refused(format!(
            "{ident} is a link of Glue's: set FRAZIL_TABLE={}.{} and FRAZIL_GLUE_CATALOG_ID={}",
            database.unwrap_or_default(),
            name.unwrap_or_default(),
            catalog.unwrap_or_default()
        ));
    }
    if entry.federated_table.is_some() {
        return refused(format!(
            "{ident} belongs to another catalog that Glue only shows: use that one (FRAZIL_CATALOG=s3tables for S3 Tables)"
        ));
    }
    if !is_iceberg(entry) {
        return refused(format!(
            "{ident} is in Glue, but it is no Iceberg table ({TABLE_TYPE} is {}): choose another name in \
             FRAZIL_TABLE, or drop it",
            parameter(entry, TABLE_TYPE).or(entry.table_type.as_deref()).unwrap_or("not set")
        ));
    }
    match parameter(entry, METADATA_LOCATION) {
        Some(location) => Ok(location),
        None => refused(format!(
            "{ident} is an Iceberg table in Glue without the parameter {METADATA_LOCATION}: restore it, or \
             drop the entry"
        )),
    }
}

fn parameter<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    entry.parameters.as_ref()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// The entry of a new table.
pub(super) fn first(table: &Table) -> Result<TableInput> {
    let columns = columns::of(table.metadata().current_schema(), &[]);
    let descriptor =
        StorageDescriptor::builder().location(table.metadata().location()).set_columns(Some(columns)).build();
    TableInput::builder()
        .name(table.identifier().name())
        .set_description(table.metadata().properties().get(COMMENT).map(|text| columns::description(text)))
        .table_type(EXTERNAL_TABLE)
        .parameters(TABLE_TYPE, ICEBERG)
        .parameters(METADATA_LOCATION, table.metadata_location_result()?)
        .storage_descriptor(descriptor)
        .build()
        .map_err(incomplete)
}

/// What follows `entry`, the entry of the table `ident`, when `metadata` are its metadata and lie at `location`.
pub(super) fn after(
    entry: Entry,
    ident: &TableIdent,
    metadata: &TableMetadata,
    location: String,
) -> Result<TableInput> {
    let mut parameters = entry.parameters.unwrap_or_default();
    parameters.insert(TABLE_TYPE.to_owned(), ICEBERG.to_owned());
    if let Some(previous) = parameters.insert(METADATA_LOCATION.to_owned(), location) {
        parameters.insert(PREVIOUS_METADATA_LOCATION.to_owned(), previous);
    }
    let mut descriptor = entry.storage_descriptor.unwrap_or_else(|| StorageDescriptor::builder().build());
    let so_far = descriptor.columns.unwrap_or_default();
    descriptor.columns = Some(columns::of(metadata.current_schema(), &so_far));
    descriptor.location = Some(metadata.location().to_owned());
    TableInput::builder()
        // Not the entry's own: through a link Glue tells the target's.
        .name(ident.name())
        .set_description(entry.description)
        .set_owner(entry.owner)
        .set_last_access_time(entry.last_access_time)
        .set_last_analyzed_time(entry.last_analyzed_time)
        .retention(entry.retention)
        .storage_descriptor(descriptor)
        .set_partition_keys(entry.partition_keys)
        .set_view_original_text(entry.view_original_text)
        .set_view_expanded_text(entry.view_expanded_text)
        .table_type(entry.table_type.unwrap_or_else(|| EXTERNAL_TABLE.to_owned()))
        .set_parameters(Some(parameters))
        .build()
        .map_err(incomplete)
}

fn incomplete(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, format!("an incomplete entry for Glue, a defect: {error}"))
}
