//! Compressed bytes -> content.
//!
//! In: an object's bytes and name. Out: a reader of its content. The format is told by the first bytes, and by the
//! name only where they say nothing (Hadoop's snappy has no mark): names lie more often than content does. Firehose
//! writes gzip, zip, snappy (framed) and Hadoop-compatible snappy (Amazon Data Firehose Developer Guide, "Configure
//! destination settings"); zstd is for other writers. Gzip in a compressed object is decompressed again: a stream that
//! compresses what CloudWatch Logs has compressed writes such objects. Refused: formats that are known but not read
//! here, content that is compressed again otherwise or more than [`MAX_LAYERS`] times, zstd frames whose window is larger
//! than `max_window_bytes`, and content beyond `max_bytes` of a compressed object.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use records::rejection::{Reason, Refusal};

use super::zip::ZipReader;

const BUFFER_BYTES: usize = 64 * 1024;
/// Formats that are followed into each other.
const MAX_LAYERS: usize = 3;
/// The longest mark of a format.
const HEAD_BYTES: u64 = 10;

/// Marks of formats that hold no JSON text.
const FOREIGN: [(&[u8], &str); 8] = [
    (b"\xFD7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4D\x18", "lz4"),
    (b"PAR1", "Parquet"),
    (b"Obj\x01", "Avro"),
    (b"ORC", "ORC"),
    (b"7z\xBC\xAF\x27\x1C", "7z"),
    (b"\x1F\x9D", "compress"),
];

/// What `error`, given by the reader that [`content`] made, says of the object, if it is not the storage's.
pub(crate) fn damage(error: &io::Error) -> Refusal {
    if let Some(refusal) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        return refusal.clone();
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed object ends in the middle".to_owned(),
        _ => format!("the object cannot be decompressed from here on: {error}"),
    };
    Refusal::new(Reason::CorruptCompression, what)
}

/// What is read of an object.
pub struct Content {
    reader: Box<dyn Read + Send>,
    /// Whether it is decompressed while it is read.
    pub is_unpacked: bool,
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

/// The content of the object `name` whose bytes `raw` gives; at most `max_bytes` where it is compressed. A zstd frame
/// may have a window of `max_window_bytes`, which are held in memory, rounded down to a power of two.
///
/// # Errors
/// A [`Refusal`] within the error for a format that is not read, also within a compressed object; else `raw`'s error.
pub fn content(
    mut raw: impl Read + Send + 'static,
    name: &str,
    max_bytes: u64,
    max_window_bytes: u64,
) -> io::Result<Content> {
    // A reader may give its first bytes one by one.
    let mut head = Vec::new();
    raw.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let raw = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head.clone()).chain(raw));
    let name = name.to_ascii_lowercase();
    let named_snappy = name.ends_with(".snappy") || name.ends_with(".hsnappy");
    let content: Box<dyn Read + Send> = match &head[..] {
        [0x1F, 0x8B, ..] => Box::new(GzipReader::new(raw)),
        // A frame, or a skippable frame before it (RFC 8878 section 3.1).
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => {
            Box::new(ZstdReader::new(raw, max_window_bytes)?)
        }
        [0xFF, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => {
            Box::new(snap::read::FrameDecoder::new(raw))
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Box::new(ZipReader::new(raw)),
        // Hadoop's blocks begin with their length, big endian and far below 16 MiB. JSON text never begins with 0.
        [0, ..] if named_snappy => Box::new(HadoopSnappyReader { raw, block: Vec::new(), at: 0, left: 0 }),
        _ => {
            if let Some((_, format)) = FOREIGN.iter().find(|(mark, _)| head.starts_with(mark)) {
                let what = format!("this is {format}; plain text, gzip, zstd, snappy and zip are read");
                return Err(io::Error::other(Refusal::new(Reason::UnknownCompression, what)));
            }
            return Ok(Content { reader: Box::new(raw), is_unpacked: false });
        }
    };
    let reader = unnested(Ceiling { content, left: max_bytes, max_bytes }, max_bytes, 1)?;
    Ok(Content { reader, is_unpacked: true })
}

/// `content`, which came out of so many `layers`: decompressed again if it is gzip, unless it begins as another format does
/// that is not JSON text. Cut into records it would be lost.
fn unnested(
    mut content: impl Read + Send + 'static,
    max_bytes: u64,
    layers: usize,
) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    // Damage comes after the content before it.
    let failure = content.by_ref().take(HEAD_BYTES).read_to_end(&mut head).err();
    let nested = match &head[..] {
        [0x1F, 0x8B, ..] if layers < MAX_LAYERS => {
            let whole = io::Cursor::new(head).chain(Failing(failure)).chain(content);
            let raw: Box<dyn Read + Send> = Box::new(whole);
            let content = GzipReader::new(BufReader::with_capacity(BUFFER_BYTES, raw));
            return unnested(Ceiling { content, left: max_bytes, max_bytes }, max_bytes, layers + 1);
        }
        [0x1F, 0x8B, ..] => Some("gzip"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some("zstd"),
        [0xFF, 6, 0, 0, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some("snappy"),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some("zip"),
        _ => FOREIGN.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, format)| *format),
    };
    match nested {
        Some(format) => {
            let what = format!("the object decompresses to {format}, where JSON text is expected");
            Err(io::Error::other(Refusal::new(Reason::NestedCompression, what)))
        }
        None => Ok(Box::new(io::Cursor::new(head).chain(Failing(failure)).chain(content))),
    }
}

/// Gzip members one after the other, with white space behind each: a delimiter between the records that they were.
struct GzipReader<R: BufRead> {
    /// None behind the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipReader<R> {
    fn new(raw: R) -> Self {
        Self { member: Some(GzDecoder::new(raw)) }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            // A reader with no room is not at the end of a member.
            match member.read(out)? {
                0 if !out.is_empty() => {}
                count => return Ok(count),
            }
            let raw = member.get_mut();
            let is_last = loop {
                let buffered = raw.fill_buf()?;
                let blank = buffered.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if blank == 0 {
                    break buffered.is_empty();
                }
                raw.consume(blank);
            };
            self.member = self.member.take().filter(|_| !is_last).map(|it| GzDecoder::new(it.into_inner()));
        }
        Ok(0)
    }
}

/// Gives its error, once.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Tells a window beyond the limit from damage.
struct ZstdReader<R: BufRead> {
    decoder: zstd::stream::read::Decoder<'static, R>,
    window_log_max: u32,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(raw: R, max_window_bytes: u64) -> io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
        // What the library takes (ZSTD_WINDOWLOG_LIMIT).
        let window_log_max = max_window_bytes.max(1).ilog2().clamp(10, 31);
        decoder.window_log_max(window_log_max)?;
        Ok(Self { decoder, window_log_max })
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(out).map_err(|error| {
            // libzstd's frameParameter_windowTooLarge; the binding passes on its text alone.
            if !error.to_string().starts_with("Frame requires too much memory") {
                return error;
            }
            let limit = 1_u64 << self.window_log_max;
            let what = format!("a zstd frame needs a window of more than the {limit} bytes that are allowed");
            io::Error::other(Refusal::new(Reason::WindowTooLarge, what))
        })
    }
}

/// Refuses content beyond a number of bytes.
struct Ceiling<R> {
    content: R,
    left: u64,
    max_bytes: u64,
}

impl<R: Read> Read for Ceiling<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // All that is allowed has been given out; whether there is more is told by one byte.
            return match self.content.read(&mut [0])? {
                0 => Ok(0),
                _ => {
                    let what = format!("the object decompresses to more than {} bytes", self.max_bytes);
                    Err(io::Error::other(Refusal::new(Reason::DecompressionLimit, what)))
                }
            };
        }
        let wanted = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.content.read(&mut out[..wanted])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Hadoop's snappy: blocks of a content length and chunks of a compressed length and raw snappy, all big endian.
struct HadoopSnappyReader<R> {
    raw: BufReader<R>,
    block: Vec<u8>,
    at: usize,
    /// Content bytes of the current block that its further chunks hold.
    left: usize,
}

/// No writer makes larger ones; a length beyond is damage, not a reason to allocate.
const MAX_CHUNK_BYTES: usize = 64 * 1024 * 1024;

impl<R: Read> HadoopSnappyReader<R> {
    fn next_chunk(&mut self) -> io::Result<bool> {
        while self.left == 0 {
            if self.raw.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.left = self.length()?;
        }
        let mut compressed = vec![0; self.length()?];
        self.raw.read_exact(&mut compressed)?;
        let invalid = |error: snap::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let length = snap::raw::decompress_len(&compressed).map_err(invalid)?;
        if length > self.left {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a snappy chunk is longer than its block",
            ));
        }
        self.block = snap::raw::Decoder::new().decompress_vec(&compressed).map_err(invalid)?;
        self.left -= length;
        self.at = 0;
        Ok(true)
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4];
        self.raw.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(bytes) as usize;
        if length > MAX_CHUNK_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a snappy block has an impossible length",
            ));
        }
        Ok(length)
    }
}

impl<R: Read> Read for HadoopSnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = (&self.block[self.at..]).read(out)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &str = "{\"a\":1}\n{\"a\":2}\n";

    fn text_of(raw: Vec<u8>, name: &str) -> io::Result<String> {
        let mut text = String::new();
        content(io::Cursor::new(raw), name, 1 << 20, 8 << 20)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn hadoop_snappy(blocks: &[&[&str]]) -> Vec<u8> {
        let mut raw = Vec::new();
        for block in blocks {
            let length: usize = block.iter().map(|chunk| chunk.len()).sum();
            raw.extend_from_slice(&(length as u32).to_be_bytes());
            for chunk in *block {
                let chunk = snap::raw::Encoder::new().compress_vec(chunk.as_bytes()).unwrap();
                raw.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
                raw.extend_from_slice(&chunk);
            }
        }
        raw
    }

    #[test]
    fn every_format_is_told_by_its_content_whatever_its_name() {
        let mut framed = snap::write::FrameEncoder::new(Vec::new());
        framed.write_all(TEXT.as_bytes()).unwrap();
        for raw in [
            TEXT.as_bytes().to_vec(),
            gzip(TEXT),
            [gzip(&TEXT[..8]), gzip(&TEXT[8..])].concat(),
            zstd::encode_all(TEXT.as_bytes(), 1).unwrap(),
            framed.into_inner().unwrap(),
        ] {
            for name in ["x.gz", "x", "x.zip", "x.snappy"] {
                assert_eq!(text_of(raw.clone(), name).unwrap(), TEXT, "{name}");
            }
        }
        assert_eq!(text_of(Vec::new(), "x.gz").unwrap(), "");
    }

    /// Gives one byte at a time, and is interrupted before each.
    struct Bytewise(io::Cursor<Vec<u8>>, bool);

    impl Read for Bytewise {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            let count = out.len().min(1);
            match self.1 {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => self.0.read(&mut out[..count]),
            }
        }
    }

    #[test]
    fn a_format_is_told_however_its_first_bytes_come() {
        let mut framed = snap::write::FrameEncoder::new(Vec::new());
        framed.write_all(TEXT.as_bytes()).unwrap();
        for raw in [
            TEXT.as_bytes().to_vec(),
            gzip(TEXT),
            zstd::encode_all(TEXT.as_bytes(), 1).unwrap(),
            framed.into_inner().unwrap(),
            hadoop_snappy(&[&[TEXT]]),
        ] {
            let mut text = String::new();
            let raw = Bytewise(io::Cursor::new(raw), false);
            content(raw, "x.snappy", 1 << 20, 8 << 20).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, TEXT);
        }
    }

    #[test]
    fn hadoop_snappy_is_told_by_its_name() {
        let raw = hadoop_snappy(&[&[&TEXT[..3], &TEXT[3..8]], &[], &[&TEXT[8..]]]);
        assert_eq!(text_of(raw.clone(), "x.hsnappy").unwrap(), TEXT);
        assert_eq!(
            text_of(raw[..raw.len() - 1].to_vec(), "x.snappy").unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let hostile = [vec![0, 0, 0, 8], vec![0xFF; 4]].concat();
        assert_eq!(text_of(hostile, "x.snappy").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn damage_is_named() {
        let reason = |raw: Vec<u8>| damage(&text_of(raw, "x").unwrap_err()).reason;
        let whole = gzip(&TEXT.repeat(1000));
        assert_eq!(reason(whole[..whole.len() - 9].to_vec()), Reason::CorruptCompression);
        assert_eq!(reason([whole.clone(), b"junk".to_vec()].concat()), Reason::CorruptCompression);
        assert_eq!(reason(b"PAR1....".to_vec()), Reason::UnknownCompression);
        assert_eq!(reason(gzip(&TEXT.repeat(100_000))), Reason::DecompressionLimit);
        assert_eq!(
            reason(zstd::encode_all(vec![0; 4 << 20].as_slice(), 1).unwrap()),
            Reason::DecompressionLimit
        );
    }

    fn gzip_of(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_decompressed_again() {
        let inner = gzip(TEXT);
        let lines = [&inner[..], b"\n", &inner, b" \n"].concat();
        assert_eq!(text_of(lines.clone(), "x").unwrap(), TEXT.repeat(2));
        for content in [&inner[..], &lines, &gzip_of(&inner)] {
            for raw in [gzip_of(content), zstd::encode_all(content, 1).unwrap()] {
                let text = text_of(raw, "x").unwrap();
                assert!(text == TEXT || text == TEXT.repeat(2), "{text}");
            }
        }
        // Damage comes after the content before it, and each layer has the ceiling.
        let mut given = Vec::new();
        let cut = [&inner[..], &inner[..12]].concat();
        let mut reader = content(io::Cursor::new(gzip_of(&cut)), "x", 1 << 20, 8 << 20).unwrap();
        assert_eq!(damage(&reader.read_to_end(&mut given).unwrap_err()).reason, Reason::CorruptCompression);
        assert!(given.starts_with(TEXT.as_bytes()));
        let bomb = gzip_of(&gzip_of(&vec![b' '; 2 << 20]));
        assert_eq!(damage(&text_of(bomb, "x").unwrap_err()).reason, Reason::DecompressionLimit);
    }

    #[test]
    fn content_that_is_compressed_again_is_refused_whole() {
        let gzip = gzip_of;
        let deep = gzip(&gzip(&gzip(b"{}")));
        for (content, format) in [
            (&deep[..], "gzip"),
            (&zstd::encode_all(TEXT.as_bytes(), 1).unwrap(), "zstd"),
            (b"\xFF\x06\0\0sNaPpY", "snappy"),
            (b"PK\x03\x04", "zip"),
            (b"PAR1", "Parquet"),
        ] {
            for raw in [gzip(content), zstd::encode_all(content, 1).unwrap()] {
                let opened = super::content(io::Cursor::new(raw), "x", 1 << 20, 8 << 20);
                let refusal = damage(&opened.err().unwrap());
                assert_eq!(refusal.reason, Reason::NestedCompression);
                assert!(refusal.message.contains(format), "{}", refusal.message);
            }
        }
        // What is shorter than a mark, and damage within its first bytes, are content and damage.
        assert_eq!(text_of(gzip(b"{}"), "x").unwrap(), "{}");
        assert_eq!(text_of(gzip(b""), "x").unwrap(), "");
        let mut damaged = gzip(b"{}\n");
        damaged.truncate(damaged.len() - 8);
        let mut reader = content(io::Cursor::new(damaged), "x", 1 << 20, 8 << 20).unwrap();
        let mut given = Vec::new();
        assert!(reader.read_to_end(&mut given).is_err());
        assert_eq!(given, b"{}\n");
    }

    #[test]
    fn a_window_beyond_the_memory_is_no_damage() {
        let framed = |window_log: u32| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(TEXT.as_bytes()).unwrap();
            encoder.flush().unwrap();
            encoder.finish().unwrap()
        };
        for (window_log, max_window_bytes, is_allowed) in
            [(23, 8 << 20, true), (24, 8 << 20, false), (24, 16 << 20, true), (27, 100 << 20, false)]
        {
            // A sound frame before it is given out.
            let raw = [zstd::encode_all(TEXT.as_bytes(), 1).unwrap(), framed(window_log)].concat();
            let mut reader = content(io::Cursor::new(raw), "x", 1 << 20, max_window_bytes).unwrap();
            let mut given = String::new();
            match reader.read_to_string(&mut given) {
                Ok(_) => assert!(is_allowed && given == TEXT.repeat(2), "{window_log}"),
                Err(error) => {
                    assert!(!is_allowed, "{window_log}: {error}");
                    assert_eq!(damage(&error).reason, Reason::WindowTooLarge, "{error}");
                }
            }
        }
    }

    #[test]
    fn the_ceiling_itself_is_allowed() {
        let text = "x".repeat(1 << 20);
        assert_eq!(text_of(gzip(&text), "x").unwrap().len(), 1 << 20);
        // Beyond it, everything up to it is still given out.
        let mut given = Vec::new();
        let beyond = io::Cursor::new(zstd::encode_all(vec![b'x'; 2_000_000].as_slice(), 1).unwrap());
        assert!(content(beyond, "x", 100_000, 8 << 20).unwrap().read_to_end(&mut given).is_err());
        assert_eq!(given.len(), 100_000);
    }
}
