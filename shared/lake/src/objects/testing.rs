//! Objects for tests.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use iceberg::io::FileIOBuilder;

use super::FoundObject;
use crate::job::{Limits, SourceObject};
use crate::storage::{S3Config, storage_factory};
use crate::token::Token;

pub(crate) fn limits() -> Limits {
    Limits::for_memory(128 << 20)
}

/// `content` as an object, which is said to be so much longer than it is.
pub(crate) fn found(folder: &Path, at: usize, content: &[u8], missing_bytes: u64) -> Arc<FoundObject> {
    let path = folder.join(at.to_string());
    std::fs::write(&path, content).unwrap();
    let (uri, key) = (path.to_str().unwrap().to_owned(), at.to_string());
    let input = FileIOBuilder::new(storage_factory(&S3Config::default())).build().new_input(&uri).unwrap();
    let token = Token::new("raw", &key, "1");
    let object = SourceObject { uri, bucket: "raw".into(), key, version_id: None, token };
    let size_bytes = content.len() as u64 + missing_bytes;
    Arc::new(FoundObject { at, object, input: Arc::new(input), size_bytes })
}

/// A gigabyte of rows in a small file.
pub(crate) fn bomb() -> Vec<u8> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..100_000).for_each(|_| member.write_all(b"{\"n\": 1, \"text\": \"some text\"}\n").unwrap());
    member.finish().unwrap().repeat(300)
}
