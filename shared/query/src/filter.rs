//! What a filter says of files.
//!
//! In: a filter of DataFusion over a table. Out: a predicate of Iceberg that holds wherever the filter does, so that files
//! of which it cannot hold are not read; None where nothing can be said. Rows are filtered again by DataFusion.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};

/// What `filter` says of the columns of `schema`.
pub(crate) fn predicate(filter: &Expr, schema: &Schema) -> Option<Predicate> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (predicate(left, schema), predicate(right, schema)) {
                (Some(left), Some(right)) => Some(left.and(right)),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(predicate(left, schema)?.or(predicate(right, schema)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            match (column(left, schema), column(right, schema)) {
                (Some(column), None) => compared(column, *op, literal(right)?),
                (None, Some(column)) => compared(column, op.swap()?, literal(left)?),
                _ => None,
            }
        }
        Expr::Between(between) if !between.negated => {
            let column = column(&between.expr, schema)?;
            let low = compared(column, Operator::GtEq, literal(&between.low)?)?;
            Some(low.and(compared(column, Operator::LtEq, literal(&between.high)?)?))
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let column = column(expr, schema)?;
            let values: Option<Vec<_>> = list.iter().map(|value| datum(literal(value)?, column.1)).collect();
            let exact = values?.into_iter().map(|value| value.exact.then_some(value.floor));
            Some(Reference::new(column.0).is_in(exact.collect::<Option<Vec<_>>>()?))
        }
        Expr::IsNull(expr) => Some(Reference::new(column(expr, schema)?.0).is_null()),
        Expr::IsNotNull(expr) => Some(Reference::new(column(expr, schema)?.0).is_not_null()),
        _ => None,
    }
}

type Column<'a> = (&'a str, &'a PrimitiveType);

/// A column at the top of the schema, also where it is cast to a type that has all of its values in the same order.
fn column<'a>(expr: &Expr, schema: &'a Schema) -> Option<Column<'a>> {
    match expr {
        Expr::Column(column) => {
            let field = schema.as_struct().fields().iter().find(|field| field.name == column.name)?;
            match field.field_type.as_ref() {
                Type::Primitive(of) => Some((&field.name, of)),
                _ => None,
            }
        }
        Expr::Cast(cast) => {
            use datafusion::arrow::datatypes::DataType as D;
            let inner = column(&cast.expr, schema)?;
            let to = cast.field.data_type();
            let keeps_order = match inner.1 {
                PrimitiveType::Timestamp => matches!(to, D::Timestamp(_, None)),
                PrimitiveType::Timestamptz => matches!(to, D::Timestamp(_, Some(_))),
                PrimitiveType::Int => matches!(to, D::Int64),
                PrimitiveType::String => matches!(to, D::Utf8View | D::LargeUtf8 | D::Utf8),
                _ => false,
            };
            keeps_order.then_some(inner)
        }
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn compared((name, of): Column<'_>, op: Operator, value: &ScalarValue) -> Option<Predicate> {
    let Value { floor, exact } = datum(value, of)?;
    let column = Reference::new(name);
    Some(match op {
        Operator::Eq => exact.then(|| column.equal_to(floor))?,
        // Of a value between two of the column's: what is above it is above the lower of the two; what is below it is
        // that one or below.
        Operator::Gt => column.greater_than(floor),
        Operator::GtEq if exact => column.greater_than_or_equal_to(floor),
        Operator::GtEq => column.greater_than(floor),
        Operator::Lt if exact => column.less_than(floor),
        Operator::Lt | Operator::LtEq => column.less_than_or_equal_to(floor),
        _ => None?,
    })
}

/// A literal in the type of a column, or the next lower value that the column can have.
struct Value {
    floor: Datum,
    exact: bool,
}

fn datum(value: &ScalarValue, of: &PrimitiveType) -> Option<Value> {
    let exact = |floor: Datum| Some(Value { floor, exact: true });
    let micros = |micros: i64| match of {
        PrimitiveType::Timestamp => Some(Datum::timestamp_micros(micros)),
        PrimitiveType::Timestamptz => Some(Datum::timestamptz_micros(micros)),
        _ => None,
    };
    match (of, value) {
        (
            PrimitiveType::String,
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
        ) => exact(Datum::string(text)),
        (PrimitiveType::Boolean, ScalarValue::Boolean(Some(value))) => exact(Datum::bool(*value)),
        (PrimitiveType::Int, ScalarValue::Int32(Some(value))) => exact(Datum::int(*value)),
        (PrimitiveType::Int, ScalarValue::Int64(Some(value))) => {
            exact(Datum::int(i32::try_from(*value).ok()?))
        }
        (PrimitiveType::Long, ScalarValue::Int64(Some(value))) => exact(Datum::long(*value)),
        (PrimitiveType::Date, ScalarValue::Date32(Some(value))) => exact(Datum::date(*value)),
        (_, ScalarValue::TimestampSecond(Some(value), _)) => exact(micros(value.checked_mul(1_000_000)?)?),
        (_, ScalarValue::TimestampMillisecond(Some(value), _)) => exact(micros(value.checked_mul(1000)?)?),
        (_, ScalarValue::TimestampMicrosecond(Some(value), _)) => exact(micros(*value)?),
        (_, ScalarValue::TimestampNanosecond(Some(value), _)) => {
            Some(Value { floor: micros(value.div_euclid(1000))?, exact: value.rem_euclid(1000) == 0 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::prelude::{col, lit};
    use iceberg::spec::NestedField;

    use super::*;

    fn schema() -> Schema {
        let field = |id, name: &str, of| Arc::new(NestedField::optional(id, name, Type::Primitive(of)));
        let fields = [
            field(1, "n", PrimitiveType::Long),
            field(2, "ts", PrimitiveType::Timestamptz),
            field(3, "name", PrimitiveType::String),
            field(4, "price", PrimitiveType::Double),
        ];
        Schema::builder().with_fields(fields).build().unwrap()
    }

    #[track_caller]
    fn assert_says(filter: &Expr, said: Option<&str>) {
        assert_eq!(predicate(filter, &schema()).map(|predicate| predicate.to_string()).as_deref(), said);
    }

    #[test]
    fn what_is_said_holds_wherever_the_filter_does() {
        let n = || col("n");
        assert_says(&n().gt_eq(lit(3_i64)), Some("n >= 3"));
        assert_says(&lit(3_i64).gt(n()), Some("n < 3"));
        assert_says(&n().eq(lit(3_i64)).and(col("price").gt(lit(1.5))), Some("n = 3"));
        assert_says(&n().eq(lit(3_i64)).or(col("price").gt(lit(1.5))), None);
        assert_says(&n().not_eq(lit(3_i64)), None);
        assert_says(&col("name").is_null(), Some("name IS NULL"));
        assert_says(&n().in_list(vec![lit(1_i64), lit(2_i64)], true), None);
        assert_says(&n().eq(lit("3")), None);
    }

    #[test]
    fn a_moment_between_two_of_the_column() {
        let at = |nanos| lit(ScalarValue::TimestampNanosecond(Some(nanos), Some("+00:00".into())));
        let ts = || col("ts");
        let holds = |filter: Expr, said: &str| {
            let said = said.replace('0', "1970-01-01 00:00:00");
            let text = predicate(&filter, &schema()).map(|predicate| predicate.to_string());
            assert!(text.as_deref().is_some_and(|text| text.starts_with(&said)), "{text:?} {said}");
        };
        holds(ts().gt_eq(at(1)), "ts > 0");
        holds(ts().gt(at(1)), "ts > 0");
        holds(ts().lt(at(1)), "ts <= 0");
        holds(ts().lt(at(0)), "ts < 0");
        assert_says(&ts().eq(at(1)), None);
    }
}
