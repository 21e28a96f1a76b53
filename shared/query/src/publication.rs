//! Conditions in SQL on what a branch has and main has not.
//!
//! In: expressions such as `count_if(user_id IS NULL) = 0`, and an audited snapshot. Out: those that are not true, each with
//! the value that it was held against. The rows are those of the new files, as readers will see them: less what delete
//! files of the branch take away, in the table's current schema. A query within an expression reads the lake's tables,
//! the published one with the metadata that the audit went by, so that `FOR VERSION AS OF` a branch gives what was audited.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::{
    CatalogProvider as _, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider as _,
};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use futures::TryStreamExt as _;
use lake::{Audited, Checks, Lake};

use crate::session::{Limits, Session};
use crate::table::LakeTable;
use crate::versions::Resolved;

/// Where the new rows are, for the query that is made of an expression.
const CATALOG: &str = "frazil";
const SCHEMA: &str = "publication";
const NEW_ROWS: &str = "new_rows";

/// Conditions in SQL.
#[derive(Debug)]
pub struct SqlChecks {
    /// Without comments, in one line.
    checks: Vec<String>,
    limits: Limits,
}

impl SqlChecks {
    /// Takes the conditions from `texts`, of which each may have several, with semicolons between them.
    ///
    /// # Errors
    /// A text is no SQL, or has no condition.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>, limits: Limits) -> Result<Self> {
        let mut checks = Vec::new();
        for text in texts {
            let before = checks.len();
            checks.extend(split(text)?);
            if checks.len() == before {
                return plan_err!("there is no check in {text:?}");
            }
        }
        Ok(Self { checks, limits })
    }
}

#[async_trait]
impl Checks for SqlChecks {
    async fn findings(&self, lake: &Lake, audited: Audited) -> Vec<String> {
        let session = match session(lake, audited, self.limits).await {
            Ok(session) => session,
            Err(error) => {
                return vec![format!("the checks cannot be evaluated: {}", error.strip_backtrace())];
            }
        };
        let mut findings = Vec::new();
        for check in &self.checks {
            match evaluate(&session, check).await {
                Ok(None) => {}
                Ok(Some(why)) => findings.push(format!("the check {check} {why}")),
                Err(error) => findings
                    .push(format!("the check {check} cannot be evaluated: {}", error.strip_backtrace())),
            }
        }
        findings
    }
}

/// The conditions in a text.
fn split(text: &str) -> Result<Vec<String>> {
    let tokens = tokens(text)?;
    let checks = tokens.split(|token| token.token == Token::SemiColon).map(|tokens| {
        let words = tokens.iter().map(|token| match &token.token {
            // Comments too.
            Token::Whitespace(_) => " ".to_owned(),
            token => token.to_string(),
        });
        let mut check = String::new();
        for word in words {
            if word != " " || !check.ends_with(' ') {
                check.push_str(&word);
            }
        }
        check.trim().to_owned()
    });
    Ok(checks.filter(|check| !check.is_empty()).collect())
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    tokens.or_else(|error| plan_err!("{text}: {error}"))
}

/// A session in which the new rows of `audited` are a table.
async fn session(lake: &Lake, audited: Audited, limits: Limits) -> Result<Session> {
    let Audited { table, snapshot, new_files } = audited;
    let namespace = table.identifier().namespace().as_ref().join(".");
    let session = Session::new(lake.clone(), &namespace, limits)?;
    session.tables.hold(table.clone()).await;
    let Some(snapshot) = table.metadata().snapshot_by_id(snapshot).cloned() else {
        return exec_err!("the table has no snapshot {snapshot} (any more)");
    };
    let schema = MemorySchemaProvider::new();
    let new_rows = LakeTable::of_files(table, snapshot, new_files)?;
    schema.register_table(NEW_ROWS.to_owned(), Arc::new(new_rows))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    session.context.register_catalog(CATALOG, Arc::new(catalog));
    Ok(session)
}

/// Why a condition does not hold; None if it does.
async fn evaluate(session: &Session, check: &str) -> Result<Option<String>> {
    let Resolved { tokens: of_check, bare_names } = session.resolve(check).await?;
    let expr = expression(of_check)?;
    let sides: Vec<&Expr> = compared(&expr).into_iter().filter(|side| !is_constant(side)).collect();
    let shown = sides.iter().enumerate().map(|(at, side)| format!(", ({side}) AS side_{at}"));
    // HAVING makes it an aggregation whatever the expression is: columns outside of a function are refused, and there is one
    // row.
    let sql = format!(
        "SELECT ({expr}) AS holds{} FROM {CATALOG}.{SCHEMA}.{NEW_ROWS} HAVING count(*) >= 0",
        shown.collect::<String>()
    );
    let query =
        tokens(&sql)?.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let rows = session.run_resolved(Resolved { tokens: query, bare_names }).await?;
    let rows: Vec<RecordBatch> =
        rows.try_filter(|rows| std::future::ready(rows.num_rows() > 0)).try_collect().await?;
    let Some((row, [])) = rows.split_first().filter(|(row, _)| row.num_rows() == 1) else {
        return plan_err!("a check has one value, for all new rows together");
    };
    let value = |at: usize| match row.column(at).logical_null_count() > 0 {
        true => Ok("null".to_owned()),
        false => array_value_to_string(row.column(at), 0),
    };
    let outcome = match row.column(0).as_boolean_opt() {
        None if row.column(0).logical_null_count() > 0 => "is null",
        None => return plan_err!("a check is true or false, and this is {}", value(0)?),
        Some(holds) if holds.is_null(0) => "is null",
        Some(holds) if holds.value(0) => return Ok(None),
        Some(_) => "is false",
    };
    let found = sides.iter().enumerate().map(|(at, side)| Ok(format!("{side} is {}", value(at + 1)?)));
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(Some(match found.is_empty() {
        true => outcome.to_owned(),
        false => format!("{outcome}: {}", found.join(", ")),
    }))
}

/// The one expression that `tokens` are.
fn expression(tokens: Vec<TokenWithSpan>) -> Result<Expr> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr()?;
    match &parser.peek_token().token {
        Token::EOF => Ok(expr),
        more => plan_err!("a check is one expression; {more} comes after it"),
    }
}

/// What an expression compares, if that is what it does.
fn compared(expr: &Expr) -> Vec<&Expr> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    match expr {
        Expr::Nested(inner) => compared(inner),
        Expr::BinaryOp { left, op: Eq | Gt | GtEq | Lt | LtEq | NotEq, right } => vec![left, right],
        Expr::Between { expr, .. } | Expr::InList { expr, .. } => vec![expr],
        _ => Vec::new(),
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if !matches!(value.value, Value::Placeholder(_)))
}
