use std::sync::Arc;

use iceberg::{Error, ErrorKind};
use records::rejection::{Reason, Refusal};

use super::*;
use crate::error::Kind;
use crate::objects::Refused;
use crate::objects::testing::{found, limits};
use crate::route::{Pattern, Router, Routes, Unrouted};
use crate::write::LeftOut;

/// What a table is given: source, row and text, or the reason; and how each source ends.
#[derive(Default)]
struct Given {
    records: Vec<String>,
    ended: Vec<(usize, Option<u64>)>,
}

impl Sink for Given {
    fn record(&mut self, origin: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        let Origin::Object { object, offset, row } = origin else { panic!("an object's") };
        let what = match record {
            Ok(text) => String::from_utf8_lossy(text).into_owned(),
            Err(Refused { refusal, bytes, keep_object, .. }) => {
                format!("{} {:?} {keep_object} {}", refusal.reason, bytes.map(<[u8]>::len), refusal.message)
            }
        };
        self.records.push(format!("{} {offset} {row} {what}", object.at));
        Ok(())
    }

    fn end(&mut self, source: usize, end: End) -> std::result::Result<(), Closed> {
        let dropped = match end {
            End::Read { dropped } => Some(dropped),
            _ => None,
        };
        self.ended.push((source, dropped));
        Ok(())
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    objects: Vec<Arc<FoundObject>>,
    router: Router,
}

impl Bench {
    fn new(unrouted: Unrouted, limits: Limits) -> Self {
        let routes = Routes {
            prefix: None,
            field: Some("t".parse().unwrap()),
            patterns: vec![Pattern::parse("*=ns.*").unwrap()],
            unrouted,
            definitions: None,
            max_tables: 2,
        };
        let folder = tempfile::tempdir().unwrap();
        let objects: Vec<_> = (0..4).map(|at| found(folder.path(), at, b"{}", 0)).collect();
        let router = Router::new(Arc::new(routes), &objects, &limits);
        Self { _folder: folder, objects, router }
    }

    fn record(&mut self, at: usize, row: u64, record: Record<'_>) -> bool {
        let origin = Origin::Object { object: self.objects[at].clone(), offset: row * 10, row };
        self.router.record(&origin, record).is_ok()
    }

    /// The records of `place` of all sources that were read.
    fn given(&self, spool: &Spool, place: Place) -> Given {
        let objects: Vec<_> = spool.read().iter().map(|at| self.objects[*at].clone()).collect();
        let mut given = Given::default();
        spool.replay(place, &objects, &mut given).unwrap();
        given
    }
}

fn refused(bytes: Option<&[u8]>) -> Record<'_> {
    let refusal = Refusal::new(Reason::Truncated, "at the end");
    Err(Refused { refusal, bytes, keep_object: bytes.is_none(), identity: None })
}

/// In memory, and with a file for every few records.
fn both() -> [Limits; 2] {
    let mut small = limits();
    small.write.buffer_bytes = 100;
    [limits(), small]
}

#[test]
fn each_table_gets_its_records_in_order() {
    for limits in both() {
        let mut bench = Bench::new(Unrouted::Default, limits);
        bench.record(0, 1, Ok(br#"{"t":"a","n":1}"#));
        bench.record(0, 2, Ok(br#"{"t":"b"}"#));
        bench.record(0, 3, refused(Some(b"{\"a")));
        bench.record(0, 4, Ok(br#"{"t":"a","n":2}"#));
        bench.router.end(0, End::Read { dropped: 0 }).unwrap();
        // One that fails is no part of it.
        bench.record(1, 1, Ok(br#"{"t":"a","n":3}"#));
        bench.router.end(1, End::Failed(Error::new(ErrorKind::Unexpected, "gone"))).unwrap();
        bench.router.end(2, End::Read { dropped: 3 }).unwrap();
        bench.record(3, 1, Ok(br#"{"n":4}"#));
        // One table too many.
        bench.record(3, 2, Ok(br#"{"t":"c"}"#));
        bench.record(3, 3, refused(None));
        bench.record(3, 4, Ok(br#"{"t":"a","n":5}"#));
        bench.router.end(3, End::Read { dropped: 0 }).unwrap();

        let router = std::mem::replace(&mut bench.router, Bench::new(Unrouted::Default, limits).router);
        let (tables, spool, left_out) = router.finish();
        assert_eq!(tables.iter().map(|(table, _)| table.to_string()).collect::<Vec<_>>(), ["ns.a", "ns.b"]);
        assert_eq!(left_out.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
        assert_eq!((spool.sources(Place::Table(0)), spool.sources(Place::Table(1))), (vec![0, 3], vec![0]));
        let given = bench.given(&spool, Place::Table(0));
        assert_eq!(
            given.records,
            [r#"0 10 1 {"t":"a","n":1}"#, r#"0 40 4 {"t":"a","n":2}"#, r#"3 40 4 {"t":"a","n":5}"#]
        );
        assert_eq!(given.ended, [(0, Some(0)), (2, Some(0)), (3, Some(0))]);
        assert_eq!(bench.given(&spool, Place::Own).ended, [(0, Some(0)), (2, Some(3)), (3, Some(0))]);
        assert_eq!(bench.given(&spool, Place::Table(1)).records, [r#"0 20 2 {"t":"b"}"#]);
        assert_eq!(
            bench.given(&spool, Place::Own).records,
            [
                "0 30 3 truncated Some(3) false at the end",
                r#"3 10 1 {"n":4}"#,
                r#"3 20 2 {"t":"c"}"#,
                "3 30 3 truncated None true at the end"
            ]
        );
        let schema = spool.schema(Place::Table(0)).unwrap().unwrap();
        assert!(schema.field_by_name("n").is_some());
    }
}

#[test]
fn what_names_no_table_may_be_refused() {
    let mut bench = Bench::new(Unrouted::Quarantine, limits());
    bench.record(0, 1, Ok(br#"{"n":4}"#));
    bench.router.end(0, End::Read { dropped: 0 }).unwrap();
    let router = std::mem::replace(&mut bench.router, Bench::new(Unrouted::Default, limits()).router);
    let (_, spool, _) = router.finish();
    assert_eq!(
        bench.given(&spool, Place::Own).records,
        ["0 10 1 no_route Some(7) false the field \"t\" names no table by FRAZIL_ROUTES"]
    );
}

#[test]
fn a_full_file_leaves_the_rest_for_later() {
    let mut small = limits();
    (small.write.buffer_bytes, small.write.spill_bytes) = (100, 150);
    let noise = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..60).map(|_| random.alphanumeric()).collect::<String>()
    };
    for whole in [1, 0] {
        let mut bench = Bench::new(Unrouted::Default, small);
        let mut row = 0;
        if whole == 1 {
            row = 1;
            assert!(bench.record(0, 1, Ok(br#"{"t":"a"}"#)));
            bench.router.end(0, End::Read { dropped: 0 }).unwrap();
        }
        while bench.record(whole, row, Ok(format!(r#"{{"t":"a","x":"{}"}}"#, noise(row)).as_bytes())) {
            row += 1;
            assert!(row < 100);
        }
        let router = std::mem::replace(&mut bench.router, Bench::new(Unrouted::Default, small).router);
        let (_, spool, left_out) = router.finish();
        let failed =
            |why: &LeftOut| matches!(why, LeftOut::Failed(error) if Kind::of(error) == Kind::Exhausted);
        let left_out: Vec<(usize, bool)> = left_out.iter().map(|(at, why)| (*at, failed(why))).collect();
        match whole {
            // What was read stands.
            1 => assert_eq!((left_out, spool.read()), (vec![(1, false), (2, false), (3, false)], &[0][..])),
            // One that does not fit by itself has failed.
            _ => assert_eq!(left_out, [(0, true), (1, false), (2, false), (3, false)]),
        }
        assert_eq!(bench.given(&spool, Place::Table(0)).records.len(), whole);
    }
}
