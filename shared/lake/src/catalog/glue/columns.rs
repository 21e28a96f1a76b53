//! A schema -> the columns that Glue shows.
//!
//! In: the current schema, and the columns so far. Out: Glue's columns, each once, in Hive's types and with the
//! parameters that Iceberg's Java library writes. They are for people and for crawlers: engines read the metadata file.
//! So nothing is refused here; what Glue cannot say is said as nearly as it can.

use std::collections::HashSet;

use aws_sdk_glue::types::Column;
use iceberg::spec::{PrimitiveType, Schema, Type};

const FIELD_ID: &str = "iceberg.field.id";
const FIELD_OPTIONAL: &str = "iceberg.field.optional";
const FIELD_CURRENT: &str = "iceberg.field.current";
/// What Glue takes of each text; it refuses an entry with a longer one (AWS Glue API, "Column", "TableInput").
const LONGEST_NAME_CHARS: usize = 255;
const LONGEST_COMMENT_CHARS: usize = 255;
const LONGEST_TYPE_CHARS: usize = 131_072;
const LONGEST_DESCRIPTION_CHARS: usize = 2048;

/// The columns of `schema`. Comments that stand only in Glue, at `columns`, stay there.
pub(super) fn of(schema: &Schema, columns: &[Column]) -> Vec<Column> {
    let mut seen = HashSet::new();
    let is_lower = |name: &str| *name == name.to_lowercase();
    let lower: HashSet<&str> = schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| field.name.as_str())
        .filter(|name| is_lower(name))
        .collect();
    let fields = schema.as_struct().fields().iter();
    fields
        .map(|field| (shown(&field.name, LONGEST_NAME_CHARS), field))
        // Hive knows no upper case: names that differ by it are one column there, and twice it would be an error. The
        // pipeline's own columns are in lower case, so that spelling goes first.
        .filter(|(_, field)| is_lower(&field.name) || !lower.contains(&*field.name.to_lowercase()))
        .filter(|(name, _)| seen.insert(name.to_lowercase()))
        .filter_map(|(name, field)| {
            let comment = field.doc.as_deref().filter(|doc| !doc.is_empty());
            let comment = comment.or_else(|| comment_of(columns, field.id, &field.name));
            let comment = comment.map(|text| shown(text, LONGEST_COMMENT_CHARS));
            let kind = shown(&hive_type(&field.field_type), usize::MAX);
            let kind = if kind.chars().count() > LONGEST_TYPE_CHARS { "string".to_owned() } else { kind };
            let column = Column::builder()
                .name(name)
                .r#type(kind)
                .set_comment(comment)
                .parameters(FIELD_ID, field.id.to_string())
                .parameters(FIELD_OPTIONAL, (!field.required).to_string())
                .parameters(FIELD_CURRENT, "true");
            // It has a name: the builder asks for nothing else.
            column.build().ok()
        })
        .collect()
}

/// The description of a table as Glue takes it.
pub(super) fn description(text: &str) -> String {
    shown(text, LONGEST_DESCRIPTION_CHARS)
}

/// `text` as Glue takes it: without line breaks and other control characters, and not longer than `chars`.
fn shown(text: &str, chars: usize) -> String {
    let is_taken = |char: &char| !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|char| if is_taken(&char) { char } else { ' ' }).take(chars).collect()
}

/// The comment in Glue on the column that is the field `id`, or that has its name and no id.
fn comment_of<'a>(columns: &'a [Column], id: i32, name: &str) -> Option<&'a str> {
    let id_of = |column: &Column| column.parameters.as_ref()?.get(FIELD_ID)?.parse::<i32>().ok();
    let column = columns.iter().find(|column| match id_of(column) {
        Some(of_column) => of_column == id,
        None => column.name.eq_ignore_ascii_case(name),
    })?;
    column.comment.as_deref().filter(|comment| !comment.is_empty())
}

fn hive_type(kind: &Type) -> String {
    match kind {
        Type::Primitive(primitive) => hive_primitive(primitive),
        Type::Struct(fields) => {
            let fields = fields.fields().iter();
            let fields: Vec<String> =
                fields.map(|field| format!("{}:{}", field.name, hive_type(&field.field_type))).collect();
            format!("struct<{}>", fields.join(","))
        }
        Type::List(list) => format!("array<{}>", hive_type(&list.element_field.field_type)),
        Type::Map(map) => {
            format!(
                "map<{},{}>",
                hive_type(&map.key_field.field_type),
                hive_type(&map.value_field.field_type)
            )
        }
    }
}

fn hive_primitive(primitive: &PrimitiveType) -> String {
    let name = match primitive {
        PrimitiveType::Boolean => "boolean",
        PrimitiveType::Int => "int",
        PrimitiveType::Long => "bigint",
        PrimitiveType::Float => "float",
        PrimitiveType::Double => "double",
        PrimitiveType::Decimal { precision, scale } => return format!("decimal({precision},{scale})"),
        PrimitiveType::Date => "date",
        // Hive has one timestamp, without a zone.
        PrimitiveType::Timestamp
        | PrimitiveType::Timestamptz
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs => "timestamp",
        PrimitiveType::String | PrimitiveType::Uuid | PrimitiveType::Time => "string",
        PrimitiveType::Fixed(_) | PrimitiveType::Binary => "binary",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{ListType, MapType, NestedField, StructType};

    use super::*;

    fn primitive(kind: PrimitiveType) -> Type {
        Type::Primitive(kind)
    }

    fn schema(fields: impl IntoIterator<Item = NestedField>) -> Schema {
        Schema::builder().with_fields(fields.into_iter().map(Into::into)).build().unwrap()
    }

    fn parameter<'a>(column: &'a Column, name: &str) -> &'a str {
        &column.parameters.as_ref().unwrap()[name]
    }

    #[test]
    fn every_type_has_a_name_in_hive() {
        use PrimitiveType::*;
        for (kind, name) in [
            (Boolean, "boolean"),
            (Int, "int"),
            (Long, "bigint"),
            (Float, "float"),
            (Double, "double"),
            (Decimal { precision: 38, scale: 9 }, "decimal(38,9)"),
            (Date, "date"),
            (Time, "string"),
            (Timestamp, "timestamp"),
            (Timestamptz, "timestamp"),
            (TimestampNs, "timestamp"),
            (TimestamptzNs, "timestamp"),
            (String, "string"),
            (Uuid, "string"),
            (Fixed(7), "binary"),
            (Binary, "binary"),
        ] {
            assert_eq!(hive_type(&primitive(kind)), name);
        }
        let list =
            Type::List(ListType::new(NestedField::list_element(2, primitive(Timestamptz), true).into()));
        let record = Type::Struct(StructType::new(vec![
            NestedField::required(3, "at", list).into(),
            NestedField::optional(4, "b", primitive(Boolean)).into(),
        ]));
        let map = Type::Map(MapType::new(
            NestedField::map_key_element(5, primitive(String)).into(),
            NestedField::map_value_element(6, record, true).into(),
        ));
        assert_eq!(hive_type(&map), "map<string,struct<at:array<timestamp>,b:boolean>>");
    }

    #[test]
    fn columns_carry_what_other_libraries_look_for() {
        let columns = of(
            &schema([
                NestedField::required(1, "id", primitive(PrimitiveType::String)),
                NestedField::optional(7, "at", primitive(PrimitiveType::Timestamptz)),
            ]),
            &[],
        );
        let [id, at] = &columns[..] else { panic!("{columns:?}") };
        assert_eq!((id.name.as_str(), id.r#type.as_deref()), ("id", Some("string")));
        assert_eq!((at.name.as_str(), at.r#type.as_deref()), ("at", Some("timestamp")));
        for (column, id, optional) in [(id, "1", "false"), (at, "7", "true")] {
            assert_eq!(parameter(column, FIELD_ID), id);
            assert_eq!(parameter(column, FIELD_OPTIONAL), optional);
            assert_eq!(parameter(column, FIELD_CURRENT), "true");
            assert_eq!(column.comment, None);
        }
    }

    #[test]
    fn a_column_is_there_once_however_its_name_is_written() {
        let fields = ["ID", "id", "n", "Id", "Name", "NAME"].iter().zip(1..);
        let columns = of(
            &schema(
                fields.map(|(name, id)| NestedField::optional(id, *name, primitive(PrimitiveType::Long))),
            ),
            &[],
        );
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "n", "Name"]);
    }

    #[test]
    fn comments_stay_and_follow_a_renamed_column() {
        let so_far = [
            Column::builder().name("old").parameters(FIELD_ID, "1").comment("by id").build().unwrap(),
            Column::builder().name("N").comment("by name").build().unwrap(),
            // Another field had that name.
            Column::builder().name("again").parameters(FIELD_ID, "9").comment("of another").build().unwrap(),
            Column::builder().name("doc").parameters(FIELD_ID, "4").comment("in Glue").build().unwrap(),
        ];
        let text = |id, name: &str| NestedField::optional(id, name, primitive(PrimitiveType::String));
        let long = format!("{}\n", "ü".repeat(254)) + "more";
        let schema = schema([
            text(1, "new"),
            text(2, "n"),
            text(3, "again"),
            text(4, "doc").with_doc("of the table"),
            text(5, "long").with_doc(&long),
        ]);
        let columns = of(&schema, &so_far);
        let comments: Vec<Option<&str>> = columns.iter().map(|column| column.comment.as_deref()).collect();
        let cut = "ü".repeat(254) + " ";
        assert_eq!(
            comments,
            [Some("by id"), Some("by name"), None, Some("of the table"), Some(cut.as_str())]
        );
    }

    #[test]
    fn what_glue_would_refuse_is_said_as_nearly_as_it_takes_it() {
        let long = (0..1000).map(|id| {
            NestedField::optional(id + 10, format!("{id:0>250}"), primitive(PrimitiveType::Long)).into()
        });
        let columns = of(
            &schema([
                NestedField::optional(1, "two\nlines", primitive(PrimitiveType::Long)),
                NestedField::optional(2, "n".repeat(300), primitive(PrimitiveType::Long)),
                NestedField::optional(3, "wide", Type::Struct(StructType::new(long.collect()))),
            ]),
            &[],
        );
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["two lines", &"n".repeat(255), "wide"]);
        assert_eq!(columns[2].r#type.as_deref(), Some("string"));
        assert_eq!(description("a\nb"), "a b");
    }
}
