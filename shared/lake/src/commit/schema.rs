//! Changes of a table's schema that go with a commit: new fields, and the promotions that the specification allows.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::{
    ListType, MapType, NestedFieldRef, PrimitiveType, Schema, SchemaRef, StructType, TableMetadata, Type,
};
use iceberg::{Error, ErrorKind, Result};

/// What becomes of a schema. The files of the change are written by the schema as it is then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SchemaChange {
    /// New fields, optional, with ids above all that the table has given out; each comes at the end of a struct. Beside it
    /// stands the id of the field that has this struct: a column, the element of a list or the value of a map. None for a
    /// column of the table.
    pub(crate) columns: Vec<(Option<i32>, NestedFieldRef)>,
    /// Fields that get a wider type, by id.
    pub(crate) promotions: Vec<(i32, PrimitiveType)>,
}

impl SchemaChange {
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.promotions.is_empty()
    }

    /// Whether the ids of the new fields are still free in `base`.
    pub(super) fn fits(&self, base: &TableMetadata) -> bool {
        self.columns.iter().all(|(_, column)| column.id > base.last_column_id())
    }

    /// This change and `next`, which was made for the schema that it leads to.
    pub(crate) fn and(mut self, next: Self) -> Self {
        self.columns.extend(next.columns);
        self.promotions.retain(|(id, _)| next.promotions.iter().all(|(other, _)| other != id));
        self.promotions.extend(next.promotions);
        self
    }

    /// The current schema of `base` as it is after the change, with the id that it has in the table then.
    ///
    /// # Errors
    /// A promotion that the specification does not allow, a column that is not there or there already.
    pub(crate) fn apply(&self, base: &TableMetadata) -> Result<SchemaRef> {
        let schema = base.current_schema();
        if let Some((_, column)) = self.columns.iter().find(|(_, column)| column.required) {
            return Err(refused(format!("the new column {} would have to be in all rows", column.name)));
        }
        let mut met = HashSet::from([None]);
        let fields = self.struct_of(None, schema.as_struct().fields(), &mut met)?;
        let parents = self.columns.iter().map(|(parent, _)| *parent);
        let promoted = self.promotions.iter().map(|(id, _)| Some(*id));
        if let Some(id) = parents.chain(promoted).find(|id| !met.contains(id)).flatten() {
            return Err(refused(format!("the schema has no column of id {id} for this change")));
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

    /// The `fields` of the struct of field `parent` after the change. `met` gets what can be changed: fields with a struct
    /// and fields of primitive types.
    fn struct_of(
        &self,
        parent: Option<i32>,
        fields: &[NestedFieldRef],
        met: &mut HashSet<Option<i32>>,
    ) -> Result<Vec<NestedFieldRef>> {
        let new = self.columns.iter().filter(|(of, _)| *of == parent).map(|(_, column)| column);
        fields.iter().chain(new).map(|field| self.field(field, met)).collect()
    }

    fn field(&self, field: &NestedFieldRef, met: &mut HashSet<Option<i32>>) -> Result<NestedFieldRef> {
        let kind = match &*field.field_type {
            Type::Struct(within) => {
                met.insert(Some(field.id));
                Type::Struct(StructType::new(self.struct_of(Some(field.id), within.fields(), met)?))
            }
            Type::List(list) => Type::List(ListType::new(self.field(&list.element_field, met)?)),
            // Keys stay as they are: they tell entries apart.
            Type::Map(map) => {
                Type::Map(MapType::new(map.key_field.clone(), self.field(&map.value_field, met)?))
            }
            Type::Primitive(_) => {
                met.insert(Some(field.id));
                let Some((_, to)) = self.promotions.iter().find(|(id, _)| *id == field.id) else {
                    return Ok(field.clone());
                };
                if !is_promotion(&field.field_type, to) {
                    let what =
                        format!("the column {} of type {} cannot become {to}", field.name, field.field_type);
                    return Err(refused(what));
                }
                Type::Primitive(to.clone())
            }
        };
        let mut field = field.clone();
        *Arc::make_mut(&mut field).field_type = kind;
        Ok(field)
    }
}

/// Iceberg specification, "Schema Evolution".
pub(crate) fn is_promotion(from: &Type, to: &PrimitiveType) -> bool {
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
