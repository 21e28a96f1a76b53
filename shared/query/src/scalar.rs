//! Values of manifests as values of columns.
//!
//! In: an Iceberg literal and its type. Out: a [`ScalarValue`] of the type that `type_to_arrow_type` gives. Refused: values
//! that are not primitive, or not of their type.

use datafusion::common::{Result, ScalarValue, exec_err};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Type};

use crate::external;

/// `literal` of the type `of`; null for None.
pub(crate) fn scalar(literal: Option<&Literal>, of: &Type) -> Result<ScalarValue> {
    let arrow = type_to_arrow_type(of).map_err(external)?;
    let Some(literal) = literal else { return ScalarValue::try_from(&arrow) };
    let (Literal::Primitive(value), Type::Primitive(of)) = (literal, of) else {
        return exec_err!("a value in the metadata is not of a primitive type, but {of}");
    };
    let utc = || Some("+00:00".into());
    Ok(match (of, value) {
        (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(value)) => ScalarValue::from(*value),
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => ScalarValue::from(*value),
        (PrimitiveType::Date, PrimitiveLiteral::Int(value)) => ScalarValue::Date32(Some(*value)),
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => ScalarValue::from(*value),
        (PrimitiveType::Long, PrimitiveLiteral::Int(value)) => ScalarValue::from(i64::from(*value)),
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => ScalarValue::from(value.into_inner()),
        (PrimitiveType::Double, PrimitiveLiteral::Double(value)) => ScalarValue::from(value.into_inner()),
        (PrimitiveType::Double, PrimitiveLiteral::Float(value)) => {
            ScalarValue::from(f64::from(value.into_inner()))
        }
        (PrimitiveType::String, PrimitiveLiteral::String(value)) => ScalarValue::from(value.as_str()),
        (PrimitiveType::Time, PrimitiveLiteral::Long(value)) => ScalarValue::Time64Microsecond(Some(*value)),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), None)
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), utc())
        }
        (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampNanosecond(Some(*value), None)
        }
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampNanosecond(Some(*value), utc())
        }
        (PrimitiveType::Decimal { precision, scale }, PrimitiveLiteral::Int128(value)) => {
            ScalarValue::Decimal128(Some(*value), *precision as u8, *scale as i8)
        }
        (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(value)) => {
            ScalarValue::FixedSizeBinary(16, Some(value.to_be_bytes().to_vec()))
        }
        (PrimitiveType::Fixed(size), PrimitiveLiteral::Binary(value)) => {
            ScalarValue::FixedSizeBinary(*size as i32, Some(value.clone()))
        }
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(value)) => {
            ScalarValue::LargeBinary(Some(value.clone()))
        }
        _ => return exec_err!("a value in the metadata is not of the type {of}: {value:?}"),
    })
}
