//! What rows lack -> the schema that a table is to have for them.
//!
//! In: the [`Lack`]s of the rows of one pass. Out: a [`SchemaChange`], and the table as it is with it. Types of new columns
//! are found as those of a new table are (`infer`), from all rows of the pass. Bounded: a pass that needs more columns
//! than a table may have adds none of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, TableMetadata, Type};
use iceberg::table::Table;
use iceberg::{Result, Runtime};

use crate::commit::SchemaChange;
use crate::decode::Lack;
use crate::decode::name::fold;
use crate::decode::unknown::{MAX_COLUMNS, note_paths};
use crate::infer::shape::{Budget, Shape};
use crate::infer::types::Names;

/// What the rows of a pass lack.
#[derive(Debug)]
pub(crate) struct Growth {
    structs: HashMap<Option<i32>, Place>,
    /// What was seen in fields without a column, by the struct that they are in.
    fields: BTreeMap<Option<i32>, Shape>,
    promotions: BTreeMap<i32, PrimitiveType>,
    rest: Option<String>,
    budget: Budget,
    /// There are more fields than the table may have columns.
    is_full: bool,
}

/// Where a struct is.
#[derive(Debug)]
struct Place {
    path: String,
    /// Objects around its fields.
    depth: usize,
}

impl Growth {
    /// Of rows that are decoded to the current schema of `metadata`.
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        let fields = metadata.current_schema().as_struct().fields();
        let mut structs = HashMap::from([(None, Place { path: String::new(), depth: 1 })]);
        note_structs(fields, "", 2, &mut structs);
        let mut paths = HashSet::new();
        note_paths(fields, "", &mut paths);
        Self {
            structs,
            fields: BTreeMap::new(),
            promotions: BTreeMap::new(),
            rest: None,
            budget: Budget { fields: MAX_COLUMNS.saturating_sub(paths.len()), reserved: &[] },
            is_full: false,
        }
    }

    /// Adds what a row lacks.
    pub(crate) fn add(&mut self, lacks: Vec<Lack>) {
        for lack in lacks {
            match lack {
                Lack::Column { parent, name, value } => {
                    let depth = self.structs.get(&parent).map_or(1, |place| place.depth);
                    let shape = self.fields.entry(parent).or_default();
                    self.is_full |= !shape.observe_field(&name, &value, depth, &mut self.budget);
                }
                Lack::Promotion(id, to) => {
                    let widest = self.promotions.entry(id).or_insert_with(|| to.clone());
                    if let (
                        PrimitiveType::Decimal { precision: so_far, .. },
                        PrimitiveType::Decimal { precision, .. },
                    ) = (&*widest, &to)
                        && precision > so_far
                    {
                        *widest = to;
                    }
                }
                Lack::Rest(name) => self.rest = Some(name),
            }
        }
    }

    /// Whether nothing of it can be added.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How the current schema of `metadata` grows by it.
    pub(crate) fn change(&self, metadata: &TableMetadata) -> SchemaChange {
        let schema = metadata.current_schema();
        let mut taken = HashSet::new();
        note_paths(schema.as_struct().fields(), "", &mut taken);
        for field in metadata.partition_specs_iter().flat_map(|spec| spec.fields()) {
            taken.insert(fold(&field.name));
        }
        let mut names = Names::new(metadata.last_column_id(), taken);
        let mut columns: Vec<(Option<i32>, NestedFieldRef)> = Vec::new();
        if let Some(rest) = &self.rest
            && names.taken.insert(fold(rest))
        {
            names.last_id += 1;
            let kind = Type::Primitive(PrimitiveType::String);
            let field = NestedField::optional(names.last_id, rest, kind);
            columns.push((None, field.with_doc("Fields that have no column, as JSON by their paths").into()));
        }
        for (parent, shape) in &self.fields {
            let path = self.structs.get(parent).map_or("", |place| &place.path);
            columns.extend(shape.columns(path, &mut names).into_iter().map(|column| (*parent, column)));
        }
        let promotions = self.promotions.iter().map(|(id, to)| (*id, to.clone())).collect();
        SchemaChange { columns, promotions }
    }
}

/// `table` as it is with `change`.
///
/// # Errors
/// The change cannot be made: a defect.
pub(crate) fn grown(table: &Table, change: &SchemaChange) -> Result<Table> {
    let metadata = table.metadata();
    let location = table.metadata_location().map(str::to_owned);
    let schema = change.apply(metadata)?.as_ref().clone();
    let built = metadata.clone().into_builder(location).add_current_schema(schema)?.build()?;
    let builder = Table::builder()
        .identifier(table.identifier().clone())
        .metadata(built.metadata)
        .file_io(table.file_io().clone())
        .runtime(Runtime::try_current()?);
    match table.metadata_location() {
        Some(location) => builder.metadata_location(location),
        None => builder,
    }
    .build()
}

fn note_structs(
    fields: &[NestedFieldRef],
    parent: &str,
    depth: usize,
    structs: &mut HashMap<Option<i32>, Place>,
) {
    for field in fields {
        let path = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        match &*field.field_type {
            Type::Struct(within) => {
                note_structs(within.fields(), &path, depth + 1, structs);
                structs.insert(Some(field.id), Place { path, depth });
            }
            Type::List(list) => {
                note_structs(std::slice::from_ref(&list.element_field), &path, depth + 1, structs);
            }
            Type::Map(map) => {
                note_structs(std::slice::from_ref(&map.value_field), &path, depth + 1, structs);
            }
            Type::Primitive(_) => {}
        }
    }
}
