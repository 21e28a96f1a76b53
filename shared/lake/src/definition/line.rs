//! One line -> a partition spec or a sort order.
//!
//! In: terms, parted by commas, and the schema of their columns: `hour(ts), bucket(16, user_id)`, and for an order also
//! `ts desc, name asc nulls last`. A term is a column or a transform of one (Iceberg specification, "Partition
//! Transforms"); nested columns are `outer.inner`, and a name with other signs than letters, digits, `_`, `.`, `-` and `@`
//! stands in backquotes. Out: the spec, whose fields are named as Iceberg's own builder names them, or the order. Refused:
//! what is no term, names of no column, transforms that do not fit.

use iceberg::spec::{
    NullOrder, Schema, SortDirection, SortField, SortOrder, Transform, UnboundPartitionField,
    UnboundPartitionSpec,
};
use iceberg::{Error, ErrorKind, Result};

/// The partition spec that `line` says.
///
/// # Errors
/// It says none for `schema`.
pub(super) fn partition_spec(line: &str, schema: &Schema) -> Result<UnboundPartitionSpec> {
    let fields = terms(line)?.into_iter().map(|term| {
        let term = Term::parse(term, schema)?;
        if !term.rest.is_empty() {
            return Err(refused(format!("after the term stands {:?}", term.rest)));
        }
        let suffix = match term.transform {
            Transform::Identity => "",
            Transform::Bucket(_) => "_bucket",
            Transform::Truncate(_) => "_trunc",
            Transform::Year => "_year",
            Transform::Month => "_month",
            Transform::Day => "_day",
            _ => "_hour",
        };
        let name = format!("{}{suffix}", term.column);
        Ok(UnboundPartitionField::builder()
            .source_id(term.source_id)
            .name(name)
            .transform(term.transform)
            .build())
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Ok(UnboundPartitionSpec::builder().add_partition_fields(fields)?.build())
}

/// The sort order that `line` says: ascending with nulls first, or descending with nulls last, unless it says otherwise.
///
/// # Errors
/// It says none for `schema`.
pub(super) fn sort_order(line: &str, schema: &Schema) -> Result<SortOrder> {
    let mut order = SortOrder::builder();
    for term in terms(line)? {
        let Term { source_id, transform, rest, .. } = Term::parse(term, schema)?;
        let mut words = rest.split_whitespace().map(str::to_lowercase).peekable();
        let direction = match words.next_if(|word| word == "asc" || word == "desc").as_deref() {
            Some("desc") => SortDirection::Descending,
            _ => SortDirection::Ascending,
        };
        let null_order = match (words.next().as_deref(), words.next().as_deref(), words.next()) {
            (None, ..) if direction == SortDirection::Descending => NullOrder::Last,
            (None, ..) | (Some("nulls"), Some("first"), None) => NullOrder::First,
            (Some("nulls"), Some("last"), None) => NullOrder::Last,
            _ => {
                return Err(refused(format!(
                    "expected asc or desc, nulls first or nulls last, found {rest:?}"
                )));
            }
        };
        order.with_sort_field(SortField { source_id, transform, direction, null_order });
    }
    order.with_order_id(1).build(schema)
}

struct Term<'a> {
    column: String,
    source_id: i32,
    transform: Transform,
    /// What stands behind it.
    rest: &'a str,
}

impl<'a> Term<'a> {
    fn parse(text: &'a str, schema: &Schema) -> Result<Self> {
        let (word, rest) = name(text.trim())?;
        let (column, transform, rest) = match rest.trim_start().strip_prefix('(') {
            None => (word, Transform::Identity, rest),
            Some(arguments) => {
                let (width, arguments) = match arguments.split_once(',') {
                    Some((width, arguments)) if !width.contains('`') => {
                        let parsed = width.trim().parse::<u32>().ok().filter(|width| *width > 0);
                        let what = || refused(format!("{word}({width}, ...): expected a number from 1 on"));
                        (Some(parsed.ok_or_else(what)?), arguments)
                    }
                    _ => (None, arguments),
                };
                let transform = match (&*word.to_lowercase(), width) {
                    ("identity", None) => Transform::Identity,
                    ("year" | "years", None) => Transform::Year,
                    ("month" | "months", None) => Transform::Month,
                    ("day" | "days", None) => Transform::Day,
                    ("hour" | "hours", None) => Transform::Hour,
                    ("bucket", Some(count)) => Transform::Bucket(count),
                    ("truncate", Some(width)) => Transform::Truncate(width),
                    _ => {
                        let what = format!(
                            "{text:?}: expected identity, year, month, day or hour of a column, bucket(N, column) or \
                             truncate(N, column)"
                        );
                        return Err(refused(what));
                    }
                };
                let (column, rest) = name(arguments.trim_start())?;
                let closed = rest.trim_start().strip_prefix(')');
                (
                    column,
                    transform,
                    closed.ok_or_else(|| refused(format!("{text:?} has no closing parenthesis")))?,
                )
            }
        };
        let field = schema.field_by_name(&column);
        let field = field.ok_or_else(|| refused(format!("the schema has no column {column:?}")))?;
        transform
            .result_type(&field.field_type)
            .map_err(|error| refused(format!("{transform} of the column {column:?}: {}", error.message())))?;
        Ok(Self { source_id: field.id, column, transform, rest: rest.trim() })
    }
}

/// The name that `text` begins with, and what follows it.
fn name(text: &str) -> Result<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('`') {
        let (name, rest) =
            quoted.split_once('`').ok_or_else(|| refused(format!("{text:?} has no closing backquote")))?;
        return Ok((name.to_owned(), rest));
    }
    let is_name = |sign: char| sign.is_alphanumeric() || "_.-@".contains(sign);
    let end = text.find(|sign| !is_name(sign)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", _) => Err(refused(format!("expected a column or a transform of one, found {text:?}"))),
        (name, rest) => Ok((name.to_owned(), rest)),
    }
}

/// The parts of `line` between commas that stand in no parentheses and no backquotes.
fn terms(line: &str) -> Result<Vec<&str>> {
    let (mut terms, mut start, mut depth, mut is_quoted) = (Vec::new(), 0, 0_usize, false);
    for (at, sign) in line.char_indices() {
        match sign {
            '`' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    match line[start..].trim() {
        "" if terms.is_empty() => return Ok(terms),
        "" => return Err(refused(format!("{line:?} ends with a comma"))),
        _ => terms.push(&line[start..]),
    }
    Ok(terms)
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::DataInvalid, what)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{NestedField, PrimitiveType, StructType};

    use super::*;

    fn schema() -> Schema {
        let inner = StructType::new(vec![NestedField::optional(5, "id", PrimitiveType::Long.into()).into()]);
        let fields = [
            NestedField::optional(1, "ts", PrimitiveType::Timestamptz.into()),
            NestedField::optional(2, "user_id", PrimitiveType::String.into()),
            NestedField::optional(3, "a, (b)", PrimitiveType::Long.into()),
            NestedField::optional(4, "s", inner.into()),
        ];
        Schema::builder().with_fields(fields.map(Into::into)).build().unwrap()
    }

    #[test]
    fn a_line_is_a_partition_spec() {
        let line = "hours(ts), bucket( 16 , user_id ),truncate(4,`a, (b)`), s.id, identity(user_id)";
        let spec = partition_spec(line, &schema()).unwrap();
        let fields = spec
            .fields()
            .iter()
            .map(|field| format!("{} {} {}", field.name, field.source_id, field.transform));
        assert_eq!(
            fields.collect::<Vec<_>>(),
            [
                "ts_hour 1 hour",
                "user_id_bucket 2 bucket[16]",
                "a, (b)_trunc 3 truncate[4]",
                "s.id 5 identity",
                "user_id 2 identity"
            ]
        );
        assert!(partition_spec(" ", &schema()).unwrap().fields().is_empty());
    }

    #[test]
    fn what_is_no_spec_says_why() {
        for (line, expected) in [
            ("hour(tz)", "no column \"tz\""),
            ("hour(user_id)", "hour of the column \"user_id\""),
            ("bucket(user_id)", "bucket(N, column)"),
            ("bucket(0, user_id)", "a number from 1 on"),
            ("week(ts)", "expected identity, year"),
            ("hour(ts", "no closing parenthesis"),
            ("`ts", "no closing backquote"),
            ("ts,", "ends with a comma"),
            (",ts", "expected a column"),
            ("ts desc", "after the term stands \"desc\""),
            ("s", "identity of the column \"s\""),
        ] {
            let error = partition_spec(line, &schema()).unwrap_err();
            assert!(error.message().contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_line_is_a_sort_order() {
        let order = sort_order("ts DESC, bucket(4, user_id), s.id desc nulls first", &schema()).unwrap();
        let fields: Vec<String> = order
            .fields
            .iter()
            .map(|field| {
                format!("{} {} {} {}", field.source_id, field.transform, field.direction, field.null_order)
            })
            .collect();
        assert_eq!(
            fields,
            ["1 identity descending last", "2 bucket[4] ascending first", "5 identity descending first"]
        );
        for line in ["ts up", "ts nulls", "ts desc nulls last x"] {
            assert!(
                sort_order(line, &schema()).unwrap_err().message().contains("expected asc or desc"),
                "{line}"
            );
        }
    }
}
