//! When the time of a partition is over.
//!
//! In: a partition spec, its schema and a partition's value. Out: the end of the time that the partition's rows are of, in
//! milliseconds since 1970. None where the spec does not part rows by time. What tells the time: the transforms of the
//! specification ("Partition Transforms"), days as they are, and the columns `partition_date` and `partition_hour` that
//! transform adds to a record.

use iceberg::spec::{
    Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema, Struct, Transform, Type,
};
use records::enrich::{PARTITION_DATE, PARTITION_HOUR};

use crate::decode::instant;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const NANOS_OF_MS: i128 = 1_000_000;

/// The earliest end that a field of the partition tells.
pub(super) fn end_ms(spec: &PartitionSpec, schema: &Schema, partition: &Struct) -> Option<i64> {
    let (mut ends, mut date, mut hour) = (Vec::new(), None, None);
    for (field, value) in spec.fields().iter().zip(partition.iter()) {
        let Some(Literal::Primitive(value)) = value else { continue };
        let Some(source) = schema.field_by_id(field.source_id) else { continue };
        let number = match value {
            PrimitiveLiteral::Int(number) => Some(i64::from(*number)),
            PrimitiveLiteral::Long(number) => Some(*number),
            _ => None,
        };
        match (field.transform, number, value) {
            (Transform::Year, Some(years), _) => {
                ends.extend(month_ms(years.saturating_add(1).saturating_mul(12)))
            }
            (Transform::Month, Some(months), _) => ends.extend(month_ms(months.saturating_add(1))),
            (Transform::Day, Some(days), _) => ends.push(days.saturating_add(1).saturating_mul(DAY_MS)),
            (Transform::Identity, Some(days), _)
                if *source.field_type == Type::Primitive(PrimitiveType::Date) =>
            {
                ends.push(days.saturating_add(1).saturating_mul(DAY_MS));
            }
            (Transform::Hour, Some(hours), _) => ends.push(hours.saturating_add(1).saturating_mul(HOUR_MS)),
            (Transform::Identity, _, PrimitiveLiteral::String(text)) if source.name == PARTITION_DATE => {
                date = Some(text);
            }
            (Transform::Identity, _, PrimitiveLiteral::String(text)) if source.name == PARTITION_HOUR => {
                hour = Some(text);
            }
            _ => {}
        }
    }
    if let Some(date) = date {
        ends.extend(match hour {
            Some(hour) => millis(&format!("{date}T{hour}:00:00Z")).map(|start| start + HOUR_MS),
            None => millis(&format!("{date}T00:00:00Z")).map(|start| start + DAY_MS),
        });
    }
    ends.into_iter().min()
}

/// The start of the month that is so many after January 1970.
fn month_ms(months: i64) -> Option<i64> {
    let (year, month) = (1970 + months.div_euclid(12), months.rem_euclid(12) + 1);
    (0..=9999).contains(&year).then(|| millis(&format!("{year:04}-{month:02}-01T00:00:00Z")))?
}

fn millis(text: &str) -> Option<i64> {
    i64::try_from(instant(text)? / NANOS_OF_MS).ok()
}

#[cfg(test)]
mod tests {
    use iceberg::spec::NestedField;

    use super::*;

    fn end(fields: &[(&str, PrimitiveType, Transform, PrimitiveLiteral)]) -> Option<i64> {
        let columns = (1..).zip(fields).map(|(id, (name, kind, ..))| {
            NestedField::optional(id, *name, Type::Primitive(kind.clone())).into()
        });
        let schema = Schema::builder().with_fields(columns).build().unwrap();
        let mut spec = PartitionSpec::builder(schema.clone());
        for (name, _, transform, _) in fields {
            spec = spec.add_partition_field(*name, format!("{name}_{transform}"), *transform).unwrap();
        }
        let values = fields.iter().map(|(.., value)| Some(Literal::Primitive(value.clone())));
        end_ms(&spec.build().unwrap(), &schema, &values.collect())
    }

    fn text(value: &str) -> PrimitiveLiteral {
        PrimitiveLiteral::String(value.to_owned())
    }

    #[test]
    fn transforms_of_time_have_an_end() {
        use PrimitiveLiteral::Int;
        use PrimitiveType::{Date, Timestamptz};
        for (kind, transform, value, expected) in [
            (Timestamptz, Transform::Hour, 0, HOUR_MS),
            (Timestamptz, Transform::Day, 1, 2 * DAY_MS),
            (Timestamptz, Transform::Month, 1, 59 * DAY_MS),
            (Timestamptz, Transform::Month, -1, 0),
            (Timestamptz, Transform::Year, 0, 365 * DAY_MS),
            (Date, Transform::Identity, 0, DAY_MS),
        ] {
            assert_eq!(end(&[("t", kind, transform, Int(value))]), Some(expected), "{transform} {value}");
        }
        // The earlier one of two.
        let both = [("t", Timestamptz, Transform::Day, Int(0)), ("u", Timestamptz, Transform::Hour, Int(3))];
        assert_eq!(end(&both), Some(4 * HOUR_MS));
        assert_eq!(end(&[("n", PrimitiveType::Int, Transform::Identity, Int(0))]), None);
        assert_eq!(end(&[("n", PrimitiveType::Int, Transform::Bucket(4), Int(0))]), None);
    }

    #[test]
    fn the_columns_that_transform_adds_have_an_end() {
        let day = (PARTITION_DATE, PrimitiveType::String, Transform::Identity, text("1970-01-02"));
        let hour = |value| (PARTITION_HOUR, PrimitiveType::String, Transform::Identity, text(value));
        assert_eq!(end(std::slice::from_ref(&day)), Some(2 * DAY_MS));
        assert_eq!(end(&[day.clone(), hour("05")]), Some(DAY_MS + 6 * HOUR_MS));
        assert_eq!(end(&[day, hour("25")]), None);
        assert_eq!(end(&[hour("05")]), None);
        assert_eq!(end(&[(PARTITION_DATE, PrimitiveType::String, Transform::Identity, text("today"))]), None);
    }
}
