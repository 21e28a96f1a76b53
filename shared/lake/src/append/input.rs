//! Where the records of an invocation come from: its objects, or what was kept of them for its table.

use std::sync::Arc;

use iceberg::Result;
use records::unpack::Options;
use tokio::time::Instant;

use crate::infer::{self, Inferred};
use crate::job::{AppendOptions, Limits};
use crate::objects::{Closed, FoundObject, Pass, PassTime};
use crate::route::{Claim, Place, Spool};
use crate::task::Stop;
use crate::write::Rows;

#[derive(Clone)]
pub(super) enum Input {
    /// The objects, from their storage.
    Objects,
    /// What a pass over objects has kept for a table.
    Spool(Arc<Spool>, Place),
}

impl Input {
    /// What hands the records of `objects` to an attempt, in the time that there is; with a claim, those that it does not take
    /// as refused.
    pub(super) fn feed(
        &self,
        objects: Vec<Arc<FoundObject>>,
        options: &AppendOptions,
        time: PassTime,
        claim: Option<Claim>,
    ) -> impl FnOnce(&mut Rows, &Stop) -> std::result::Result<(), Closed> + Send + 'static {
        let (input, limits, unpack) = (self.clone(), options.limits, options.unpack.clone());
        move |rows, stop| match (input, claim) {
            (Self::Objects, None) => Pass { objects, limits, unpack, time }.run(rows, stop),
            (Self::Objects, Some(claim)) => {
                Pass { objects, limits, unpack, time }.run(&mut claim.on(rows), stop)
            }
            (Self::Spool(spool, place), None) => spool.replay(place, &objects, rows),
            (Self::Spool(spool, place), Some(claim)) => spool.replay(place, &objects, &mut claim.on(rows)),
        }
    }

    /// The schema of the records of `objects`, from a look at them until `until`.
    ///
    /// # Errors
    /// No schema can be made, a defect; what was kept cannot be read.
    pub(super) async fn infer(
        &self,
        objects: Vec<Arc<FoundObject>>,
        limits: Limits,
        unpack: &Options,
        until: Instant,
    ) -> Result<Inferred> {
        match self {
            Self::Objects => infer::infer(objects, limits, unpack, until).await,
            Self::Spool(spool, place) => {
                Ok(Inferred { schema: spool.schema(*place)?, failed: Vec::new(), cut_short: false })
            }
        }
    }
}
