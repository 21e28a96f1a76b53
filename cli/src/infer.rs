//! `frazil infer`: data files -> the definition of a table for what they hold.
//!
//! In: files of JSON records, plain or compressed. Out: a definition on standard output, to be edited and given to
//! `frazil replay --table`, `frazil table create` or `FRAZIL_TABLE_DEFINITION`. Each column has what was seen of it as its
//! `doc`. All records are looked at; what is no JSON object is passed over and counted.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use indicatif::HumanCount;
use lake::{Inference, Limits, Numbers};
use records::frame::{Frame, Framer};

use crate::page::{complain, out};
use crate::warehouse::MEMORY_BYTES;

/// Print the definition of a table for files of events, with what was seen of each column.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data files (newline-delimited or concatenated JSON), plain, gzip, zstd, snappy or zip.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What columns of whole numbers become, which would take no fraction: double, or a decimal that is exact.
    #[arg(long, value_enum)]
    numbers: Option<Wider>,
    /// The table's name.
    #[arg(long, value_name = "NAME", default_value = "events")]
    name: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Wider {
    Double,
    Decimal,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let numbers = match arguments.numbers {
        None => Numbers::AsSeen,
        Some(Wider::Double) => Numbers::Double,
        Some(Wider::Decimal) => Numbers::Decimal,
    };
    let limits = Limits::for_memory(MEMORY_BYTES);
    let mut inference = Inference::default();
    let mut passed_over = 0_u64;
    for path in &arguments.files {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let content = lake::content(file, &name, limits.decompressed_bytes, limits.window_bytes)
            .with_context(|| format!("cannot read {shown}"))?;
        let mut framer = Framer::new(content, limits.record_bytes);
        while let Some(frame) = framer.next_frame().with_context(|| format!("cannot read {shown}"))? {
            match frame {
                Frame::Record { text, .. } if text.first() == Some(&b'{') => inference.observe(text),
                _ => passed_over += 1,
            }
        }
    }
    let Some(definition) = inference.definition(&arguments.name, numbers)? else {
        bail!("no file holds a JSON object to tell columns from");
    };
    out!("{}", serde_json::to_string_pretty(&definition)?);
    if passed_over > 0 {
        complain(format!("{} records are no JSON objects and were passed over", HumanCount(passed_over)));
    }
    Ok(ExitCode::SUCCESS)
}
