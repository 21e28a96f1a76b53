//! The records of a pass -> a spool, by the tables that they name.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use iceberg::{Error, ErrorKind, TableIdent};
use records::rejection::{Reason, Refusal};

use super::{Place, Routed, Routes, Spool, Unrouted};
use crate::error::Kind;
use crate::job::Limits;
use crate::objects::{Closed, End, FoundObject, Origin, Record, Refused, Sink};
use crate::write::LeftOut;

/// The tables, their records, and the sources that are no part of them.
pub(crate) type Routing = (Vec<(TableIdent, Option<Routed>)>, Spool, Vec<(usize, LeftOut)>);

/// Takes the records of a pass apart by table.
pub(crate) struct Router {
    routes: Arc<Routes>,
    tables: Vec<(TableIdent, Option<Routed>)>,
    by_table: HashMap<TableIdent, usize>,
    spool: Spool,
    /// Sources that are no part of what was kept.
    left_out: Vec<(usize, LeftOut)>,
}

impl Router {
    pub(crate) fn new(routes: Arc<Routes>, objects: &[Arc<FoundObject>], limits: &Limits) -> Self {
        let spool = Spool::new(objects, limits);
        Self { routes, tables: Vec::new(), by_table: HashMap::new(), spool, left_out: Vec::new() }
    }

    /// What was kept: the tables, the records, and the sources that are no part of them.
    pub(crate) fn finish(mut self) -> Routing {
        if let Some(error) = self.spool.full.take() {
            let is_told =
                |at: &usize| self.spool.read.contains(at) || self.left_out.iter().any(|(left, _)| left == at);
            let lost: Vec<usize> = self.spool.numbers().filter(|at| !is_told(at)).collect();
            // One that is too large by itself would come again for ever.
            let mut too_large = self.spool.read.is_empty().then(|| too_large(&error));
            self.left_out.extend(
                lost.into_iter()
                    .map(|at| (at, too_large.take().map_or(LeftOut::NotReached, LeftOut::Failed))),
            );
        }
        (self.tables, self.spool, self.left_out)
    }

    fn place(&mut self, text: &[u8]) -> Option<Place> {
        let (table, value) = self.routes.of_record(text)?;
        let routed = |value: &str| {
            let (routes, value) = (self.routes.clone(), value.to_owned());
            Routed { routes, value, is_mixed: false }
        };
        if let Some(number) = self.by_table.get(&table).copied() {
            if let (Some(value), Some((_, first))) = (value, self.tables.get_mut(number)) {
                let first = first.get_or_insert_with(|| routed(&value));
                first.is_mixed |= first.value != *value;
            }
            return Some(Place::Table(number));
        }
        let number = self.tables.len();
        if number >= self.routes.max_tables {
            return None;
        }
        self.tables.push((table.clone(), value.as_deref().map(routed)));
        self.by_table.insert(table, number);
        Some(Place::Table(number))
    }
}

impl Sink for Router {
    fn record(&mut self, origin: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        let (place, record) = match record {
            Ok(text) => match (self.place(text), self.routes.unrouted) {
                (Some(place), _) => (place, Ok(text)),
                (None, Unrouted::Default) => (Place::Own, Ok(text)),
                (None, Unrouted::Quarantine) => {
                    let field = self.routes.field.as_ref().map(ToString::to_string).unwrap_or_default();
                    let what = format!("the field {field:?} names no table by FRAZIL_ROUTES");
                    let refusal = Refusal::new(Reason::NoRoute, what);
                    (Place::Own, Err(Refused::new(refusal, Some(text))))
                }
            },
            Err(refused) => (Place::Own, Err(refused)),
        };
        self.spool.add(place, origin, record).map_err(|error| {
            self.spool.full = Some(error);
            Closed
        })
    }

    fn end(&mut self, source: usize, end: End) -> std::result::Result<(), Closed> {
        match end {
            End::Read { dropped } => {
                self.spool.read.push(source);
                self.spool.dropped.insert(source, dropped);
            }
            // What it has given is passed over.
            End::Failed(error) | End::Spoiled(error) => self.left_out.push((source, LeftOut::Failed(error))),
            End::NotReached => self.left_out.push((source, LeftOut::NotReached)),
        }
        Ok(())
    }
}

fn too_large(error: &io::Error) -> Error {
    let what = format!(
        "the records of the object cannot be kept by table ({error}); give the function more temporary storage, or \
         deliver smaller objects"
    );
    Kind::Exhausted.within(ErrorKind::Unexpected, what)
}
