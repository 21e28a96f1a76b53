//! `count_if(condition)`: for how many rows a condition is true. Athena, Spark and DuckDB have it, DataFusion has not.
//!
//! In: a call. Out: the same as a call of `count`, which is what runs.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, not_impl_err};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility, lit, when,
};

/// The function.
pub(crate) fn function() -> AggregateUDF {
    let signature = Signature::exact(vec![DataType::Boolean], Volatility::Immutable);
    AggregateUDF::from(CountIf { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountIf {
    signature: Signature,
}

impl AggregateUDFImpl for CountIf {
    fn name(&self) -> &str {
        "count_if"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("count_if over a window: write count(CASE WHEN condition THEN 1 END) OVER (...)")
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|mut call, _| {
            let conditions = std::mem::take(&mut call.params.args).into_iter();
            let counted = conditions.map(|condition| when(condition, lit(1_i64)).end());
            call.params.args = counted.collect::<Result<_>>()?;
            Ok(Expr::AggregateFunction(AggregateFunction { func: count_udaf(), params: call.params }))
        }))
    }
}
