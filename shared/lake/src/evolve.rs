//! A schema that a table is to have -> the table with what it lacks of it.
//!
//! In: a table and a schema, by names. Out: the table with new optional columns and wider types; columns that the schema
//! does not name stay. Refused: types that Iceberg does not widen, and new columns that would be required. No rows come
//! with it, so it is a change of metadata alone.

use std::collections::HashMap;

use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, Schema, StructType, TableMetadata, Type,
};
use iceberg::{Error, ErrorKind, Result, TableIdent, TableRequirement};

use crate::catalog::{Lake, Next, NotSwapped};
use crate::commit::{SchemaChange, is_promotion};
use crate::decode::name::fold;

/// How often others may be faster.
const ATTEMPTS: u32 = 10;

impl Lake {
    /// Gives the table `ident` what it lacks of `schema`. Gives back the paths of new and of widened columns.
    ///
    /// # Errors
    /// The catalog's; what cannot become of a column.
    pub async fn evolve(&self, ident: &TableIdent, schema: &Schema) -> Result<Vec<String>> {
        let mut attempts = 0;
        loop {
            let base = self.catalog.load(ident).await?;
            let metadata = base.table.metadata();
            let (change, paths) = lacking(metadata, schema)?;
            if change.is_empty() {
                return Ok(paths);
            }
            let location = base.table.metadata_location().map(str::to_owned);
            let grown = change.apply(metadata)?.as_ref().clone();
            let built = metadata.clone().into_builder(location).add_current_schema(grown)?.build()?;
            let requirements = vec![
                TableRequirement::UuidMatch { uuid: metadata.uuid() },
                TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
                TableRequirement::LastAssignedFieldIdMatch {
                    last_assigned_field_id: metadata.last_column_id(),
                },
            ];
            let next = Next { updates: built.changes, requirements, metadata: built.metadata };
            attempts += 1;
            match self.catalog.swap(&base, &next).await {
                Ok(()) => return Ok(paths),
                Err(NotSwapped::Conflict(_)) if attempts < ATTEMPTS => {}
                Err(
                    NotSwapped::Conflict(error) | NotSwapped::Unknown(error) | NotSwapped::Refused(error),
                ) => {
                    return Err(error);
                }
            }
        }
    }
}

/// What the table of `metadata` lacks of `wanted`, and the paths of it.
fn lacking(metadata: &TableMetadata, wanted: &Schema) -> Result<(SchemaChange, Vec<String>)> {
    let mut lacking =
        Lacking { last_id: metadata.last_column_id(), change: SchemaChange::default(), paths: Vec::new() };
    let has = metadata.current_schema().as_struct().fields();
    lacking.fields(None, has, wanted.as_struct().fields(), "")?;
    Ok((lacking.change, lacking.paths))
}

struct Lacking {
    last_id: i32,
    change: SchemaChange,
    paths: Vec<String>,
}

impl Lacking {
    fn fields(
        &mut self,
        parent: Option<i32>,
        has: &[NestedFieldRef],
        wanted: &[NestedFieldRef],
        path: &str,
    ) -> Result<()> {
        let by_name: HashMap<String, &NestedFieldRef> =
            has.iter().map(|field| (fold(&field.name), field)).collect();
        for field in wanted {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            if let Some(has) = by_name.get(&fold(&field.name)) {
                self.kind(has, &field.field_type, &path)?;
                continue;
            }
            if field.required {
                return Err(refused(format!(
                    "{path} is new, and cannot be required: rows that are there lack it"
                )));
            }
            let column = NestedField { id: self.next_id(), ..field.as_ref().clone() };
            let kind = self.renumbered(&field.field_type);
            let column = NestedField { field_type: Box::new(kind), ..column };
            self.change.columns.push((parent, column.into()));
            self.paths.push(path);
        }
        Ok(())
    }

    fn kind(&mut self, has: &NestedField, wanted: &Type, path: &str) -> Result<()> {
        match (&*has.field_type, wanted) {
            (Type::Struct(inner), Type::Struct(wanted)) => {
                self.fields(Some(has.id), inner.fields(), wanted.fields(), path)
            }
            (Type::List(list), Type::List(wanted)) => {
                self.kind(&list.element_field, &wanted.element_field.field_type, &format!("{path}.element"))
            }
            (Type::Map(map), Type::Map(wanted))
                if map.key_field.field_type == wanted.key_field.field_type =>
            {
                self.kind(&map.value_field, &wanted.value_field.field_type, &format!("{path}.value"))
            }
            (from, to) if from == to => Ok(()),
            (from, Type::Primitive(to)) if is_promotion(from, to) => {
                self.change.promotions.push((has.id, to.clone()));
                self.paths.push(path.to_owned());
                Ok(())
            }
            (from, to) => Err(refused(format!(
                "{path} is {from} and cannot become {to}: Iceberg widens int to long, float to double and decimal by \
                 digits before the point; rename the column and add another one"
            ))),
        }
    }

    fn next_id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }

    /// The type with ids that the table has not given out.
    fn renumbered(&mut self, kind: &Type) -> Type {
        match kind {
            Type::Primitive(_) => kind.clone(),
            Type::Struct(inner) => {
                Type::Struct(StructType::new(inner.fields().iter().map(|field| self.field(field)).collect()))
            }
            Type::List(list) => Type::List(ListType::new(self.field(&list.element_field))),
            Type::Map(map) => {
                Type::Map(MapType::new(self.field(&map.key_field), self.field(&map.value_field)))
            }
        }
    }

    fn field(&mut self, field: &NestedField) -> NestedFieldRef {
        let id = self.next_id();
        let field_type = Box::new(self.renumbered(&field.field_type));
        NestedField { id, field_type, ..field.clone() }.into()
    }
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::DataInvalid, what)
}
