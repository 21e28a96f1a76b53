//! Changes of a table's schema that go with a commit: new columns, and the promotions that the specification allows.

use std::sync::Arc;

use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, SchemaRef, TableMetadata, Type};
use iceberg::{Error, ErrorKind, Result};

/// What becomes of a schema. The files of the change are written by the schema as it is then.
#[derive(Clone, Debug, Default)]
pub(crate) struct SchemaChange {
    /// New columns at the end, optional, with ids above all that the table has given out.
    pub(crate) columns: Vec<NestedFieldRef>,
    /// Columns of the top level that get a wider type, by id.
    pub(crate) promotions: Vec<(i32, PrimitiveType)>,
}

impl SchemaChange {
    /// The current schema of `base` as it is after the change, with the id that it has in the table then.
    ///
    /// # Errors
    /// A promotion that the specification does not allow, a column that is not there or there already.
    pub(crate) fn apply(&self, base: &TableMetadata) -> Result<SchemaRef> {
        let schema = base.current_schema();
        let mut fields: Vec<NestedFieldRef> = schema.as_struct().fields().to_vec();
        for (id, to) in &self.promotions {
            let Some(field) = fields.iter_mut().find(|field| field.id == *id) else {
                return Err(refused(format!("the schema has no column of id {id}")));
            };
            if !is_promotion(&field.field_type, to) {
                let what =
                    format!("the column {} of type {} cannot become {to}", field.name, field.field_type);
                return Err(refused(what));
            }
            Arc::make_mut(field).field_type = Box::new(Type::Primitive(to.clone()));
        }
        for column in &self.columns {
            if column.required {
                return Err(refused(format!("the new column {} would have to be in all rows", column.name)));
            }
            fields.push(column.clone());
        }
        let changed = Schema::builder()
            .with_identifier_field_ids(schema.identifier_field_ids())
            .with_fields(fields)
            .build()?;
        // A schema that the table has had before comes back with its id, as the library has it.
        let is_same = |one: &&SchemaRef| {
            one.as_struct() == changed.as_struct()
                && one.identifier_field_ids().eq(changed.identifier_field_ids())
        };
        let next = base.schemas_iter().map(|one| one.schema_id()).max().unwrap_or(0) + 1;
        let id = base.schemas_iter().find(is_same).map_or(next, |one| one.schema_id());
        Ok(changed.into_builder().with_schema_id(id).build()?.into())
    }
}

/// Iceberg specification, "Schema Evolution".
fn is_promotion(from: &Type, to: &PrimitiveType) -> bool {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    let Type::Primitive(from) = from else { return false };
    match (from, to) {
        (Int, Long) | (Float, Double) => true,
        (Decimal { precision, scale }, Decimal { precision: wider, scale: same }) => {
            wider >= precision && same == scale
        }
        (from, to) => from == to,
    }
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::DataInvalid, what)
}
