//! `FOR TIMESTAMP AS OF` and `FOR VERSION AS OF`.
//!
//! In: the tokens of a query. Out: the same with `TABLE@SNAPSHOT` in the place of `TABLE FOR ... AS OF ...`, wherever in the query
//! it stands: DataFusion's parser does not know the first form, and its planner passes over those that it knows. Refused:
//! an AS OF that is not behind a table's name, or whose expression is not constant.

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, plan_err};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Expr, Value, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use std::ops::ControlFlow;

use crate::metadata::Kind;
use crate::namespaces::{AT, Tables};
use crate::snapshot::{Version, find};

/// A query whose tables stand for themselves.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) tokens: Vec<TokenWithSpan>,
    /// Names without a namespace that had a version: none of these may be a query of the WITH clause.
    pub(crate) bare_names: Vec<String>,
}

/// Resolves all versions in `sql`. Names without a namespace are in `namespace`.
pub(crate) async fn resolve(
    sql: &str,
    tables: &Tables,
    namespace: &str,
    context: &SessionContext,
) -> Result<Resolved> {
    let tokens = match Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => return plan_err!("{error}"),
    };
    let mut tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut bare_names = Vec::new();
    let mut from = 0;
    while let Some((at, kind)) = next_version(&tokens, from) {
        let name = name_before(&tokens, at)?;
        let after = tokens.get(at + 4..).unwrap_or_default();
        let (expr, length, is_named) = expression(after)?;
        let version = match kind {
            Keyword::VERSION => version(&expr)?,
            _ => Version::Timestamp(instant(&expr, context).await?),
        };
        let written = name.parts.join(".");
        let Some((table, namespaces)) = name.parts.split_last() else {
            return plan_err!("a table has a name");
        };
        let namespace = if namespaces.is_empty() { namespace.to_owned() } else { namespaces.join(".") };
        if namespaces.is_empty() {
            bare_names.push(table.clone());
        }
        let plain = Kind::split(table).map_or(table.as_str(), |(table, _)| table);
        let Some(loaded) = tables.load(&namespace, plain).await? else {
            return plan_err!("there is no table {written}");
        };
        let snapshot = find(loaded.metadata(), plain, &version)?.snapshot_id();
        let span = tokens.get(at).map_or_else(TokenWithSpan::new_eof, Clone::clone);
        let token = |token| TokenWithSpan { token, span: span.span };
        let mut with = vec![token(quoted(&format!("{table}{AT}{snapshot}")))];
        if !is_named {
            // Columns go by the name that the query has for the table.
            with.extend([token(Token::make_keyword("AS")), token(quoted(table))]);
        }
        from = at - 1 + with.len();
        tokens.splice(at - 1..at + 4 + length, with);
    }
    Ok(Resolved { tokens, bare_names })
}

fn quoted(name: &str) -> Token {
    Token::make_word(name, Some('"'))
}

fn word(token: Option<&TokenWithSpan>) -> Option<&Word> {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) => Some(word),
        _ => None,
    }
}

/// Where the next `FOR ... AS OF` begins, and by what it goes.
fn next_version(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, Keyword)> {
    let keyword =
        |at: usize| word(tokens.get(at)).filter(|word| word.quote_style.is_none()).map(|word| word.keyword);
    (from..tokens.len()).find_map(|at| {
        let kind = keyword(at + 1)?;
        let is_kind = [Keyword::TIMESTAMP, Keyword::SYSTEM_TIME, Keyword::VERSION];
        let is_version = keyword(at)? == Keyword::FOR
            && (is_kind.contains(&kind))
            && keyword(at + 2)? == Keyword::AS
            && keyword(at + 3)? == Keyword::OF;
        is_version.then_some((at, kind))
    })
}

struct Name {
    /// As they are in the catalog.
    parts: Vec<String>,
}

/// The name that ends before the token `end`. It must be that of a table: an alias comes behind the version.
fn name_before(tokens: &[TokenWithSpan], end: usize) -> Result<Name> {
    let mut parts = Vec::new();
    let mut at = end;
    while let Some(part) = at.checked_sub(1).and_then(|at| word(tokens.get(at))) {
        parts.push(match part.quote_style {
            Some(_) => part.value.clone(),
            None => part.value.to_lowercase(),
        });
        at -= 1;
        if at.checked_sub(1).and_then(|at| tokens.get(at)).is_none_or(|token| token.token != Token::Period) {
            break;
        }
        at -= 1;
    }
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    let is_table = match before.map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none() && [Keyword::FROM, Keyword::JOIN].contains(&word.keyword)
        }
        Some(Token::Comma | Token::LParen) => true,
        _ => false,
    };
    if parts.is_empty() || !is_table {
        let place = tokens.get(end).map_or_else(String::new, |token| token.span.start.to_string());
        return plan_err!(
            "FOR ... AS OF{place} is not behind the name of a table: write FROM table FOR ... AS OF ... alias"
        );
    }
    parts.reverse();
    Ok(Name { parts })
}

/// The expression at the start of `tokens`, how many of them it takes, and whether an alias follows.
fn expression(tokens: &[TokenWithSpan]) -> Result<(Expr, usize, bool)> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens.to_vec());
    let parsed = parser.parse_expr().and_then(|expr| {
        let length = parser.index();
        Ok((expr, length, parser.maybe_parse_table_alias()?.is_some()))
    });
    parsed.or_else(|error| plan_err!("after AS OF: {error}"))
}

fn version(expr: &Expr) -> Result<Version> {
    if let Expr::Value(value) = expr {
        match &value.value {
            Value::Number(number, _) => {
                if let Ok(id) = number.parse() {
                    return Ok(Version::Snapshot(id));
                }
            }
            Value::SingleQuotedString(name) => return Ok(Version::Reference(name.clone())),
            _ => {}
        }
    }
    plan_err!(
        "FOR VERSION AS OF takes the id of a snapshot, or the name of a branch or a tag in quotes, not {expr}"
    )
}

/// A constant moment, in microseconds since 1970.
async fn instant(expr: &Expr, context: &SessionContext) -> Result<i64> {
    if expr.visit(&mut FindsQuery).is_break() {
        return plan_err!("FOR TIMESTAMP AS OF takes a constant, not a query: {expr}");
    }
    let named = |error: datafusion::error::DataFusionError| {
        error.context(format!("FOR TIMESTAMP AS OF takes a constant moment, not {expr}"))
    };
    let plan = context.state().create_logical_plan(&format!("SELECT {expr}")).await.map_err(named)?;
    let rows = context.execute_logical_plan(plan).await.map_err(named)?.collect().await.map_err(named)?;
    let Some(value) = rows.first().map(|batch| batch.column(0)).filter(|values| values.len() == 1) else {
        return plan_err!("FOR TIMESTAMP AS OF takes one moment, not {expr}");
    };
    let is_moment = matches!(value.data_type(), DataType::Timestamp(..) | DataType::Date32)
        || value.data_type().is_string();
    let moment = datafusion::arrow::compute::cast_with_options(
        value,
        &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        &datafusion::arrow::compute::CastOptions { safe: false, ..Default::default() },
    );
    match moment.ok().filter(|moment| is_moment && moment.is_valid(0)) {
        Some(moment) => Ok(moment.as_primitive::<TimestampMicrosecondType>().value(0)),
        None => plan_err!("FOR TIMESTAMP AS OF takes a moment, not {expr}"),
    }
}

struct FindsQuery;

impl Visitor for FindsQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _: &datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}
