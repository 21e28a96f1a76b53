//! Objects as no producer should write them: what is good in them becomes rows, what is not is kept in the
//! quarantine byte for byte, the message is acknowledged, and the neighbours are not harmed.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::io::{Read as _, Write as _};
use std::ops::Range;

use serde_json::Value;
use tests::{Bench, Delivered, Object, Rejection, files, gzip, lines, plain_table, strict};

/// An object of `content` between two good ones, in one event.
async fn between_good_ones(content: &[u8]) -> (Bench, Delivered) {
    let bench = Bench::new(Some(plain_table())).await;
    let delivered = deliver_between_good_ones(&bench, content).await;
    (bench, delivered)
}

const BEFORE: Range<i64> = -20..-10;
const AFTER: Range<i64> = -10..0;

async fn deliver_between_good_ones(bench: &Bench, content: &[u8]) -> Delivered {
    let objects = [
        bench.put("before.json", lines(BEFORE)),
        bench.put("bad.json", content),
        bench.put("after.json", lines(AFTER)),
    ];
    let delivered = bench.deliver(&objects).await;
    let neighbours = [&delivered.objects[0][..], &delivered.objects[2]];
    assert_eq!(neighbours, ["10 rows", "10 rows"], "the neighbours are not harmed");
    assert!(delivered.failed.is_empty(), "wrong content is acknowledged: {delivered:?}");
    assert_eq!(bench.deliver(&objects).await.objects, ["known", "known", "known"]);
    delivered
}

/// The numbers of the rows that are not the neighbours'.
async fn numbers(bench: &Bench) -> Vec<i64> {
    let mut numbers = bench.numbers().await;
    assert_eq!(numbers.drain(..20).collect::<Vec<_>>(), (-20..0).collect::<Vec<_>>());
    numbers
}

fn codes(rejections: &[Rejection]) -> Vec<&str> {
    rejections.iter().map(|rejection| &rejection.code[..]).collect()
}

/// Everything of `content` is in the rows `numbers`, in `rejections` (which must quote it where they say they
/// do), or a separator.
fn assert_accounted_for(content: &[u8], numbers: &[i64], rejections: &[Rejection]) {
    let mut left = content.to_vec();
    for rejection in rejections {
        let range = rejection.offset as usize..;
        let range = match &rejection.raw {
            Some(raw) => {
                assert!(content[range.clone()].starts_with(raw), "{rejection:?} quotes the object");
                range.start..range.start + raw.len()
            }
            None => range.start..content.len(),
        };
        assert!(!left[range.clone()].contains(&TAKEN), "{rejection:?} overlaps another rejection");
        left[range].fill(TAKEN);
    }
    let mut left = String::from_utf8(left.split(|byte| *byte == TAKEN).collect::<Vec<_>>().concat()).unwrap();
    left.retain(|character| !matches!(character, '\u{feff}' | '\u{1e}'));
    let rows = serde_json::Deserializer::from_str(&left).into_iter::<Value>();
    let mut rows: Vec<i64> = rows.map(|row| row.unwrap()["n"].as_i64().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, numbers);
}

/// Stands in no content of these tests.
const TAKEN: u8 = 0xFE;

/// What flate2 gets out of a damaged gzip file.
fn readable(damaged: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(damaged).read_to_end(&mut content).unwrap_err();
    content
}

#[tokio::test]
async fn a_missing_object_fails_its_message_alone() {
    let bench = Bench::new(Some(plain_table())).await;
    let missing = Object { bucket: "raw".into(), key: "missing".into(), etag: "0".into() };
    let objects = [bench.put("a", lines(0..5)), missing, bench.put("b", lines(5..9))];
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["5 rows", "failed", "4 rows"]);
    assert_eq!(delivered.failed, [1]);
    assert_eq!(bench.numbers().await, (0..9).collect::<Vec<_>>());

    bench.put("missing", lines(9..12));
    assert_eq!(bench.deliver(&objects).await.objects, ["known", "3 rows", "known"]);
    assert_eq!(bench.numbers().await, (0..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn only_missing_objects_leave_the_table_alone() {
    let bench = Bench::new(Some(plain_table())).await;
    let missing = Object { bucket: "raw".into(), key: "missing".into(), etag: "0".into() };
    let delivered = bench.deliver(&[missing]).await;
    assert_eq!((delivered.objects, delivered.failed), (vec!["failed".to_owned()], vec![0]));
    assert!(files(&bench.folder.path().join("warehouse")).is_empty());
}

#[tokio::test]
async fn a_truncated_gzip_keeps_the_rows_before_the_cut() {
    let whole = gzip(lines(0..5000));
    let cut = &whole[..whole.len() / 2];
    let (bench, delivered) = between_good_ones(cut).await;
    let rejections = bench.rejections();
    assert_eq!(codes(&rejections), ["truncated", "corrupt_compression"]);

    let content = readable(cut);
    let good = content.iter().filter(|byte| **byte == b'\n').count();
    assert!(good > 1000);
    assert_eq!(numbers(&bench).await, (0..good as i64).collect::<Vec<_>>());
    assert_eq!(delivered.objects[1], format!("{good} rows, 1 truncated, 1 corrupt_compression"));
    let line_start = content.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(rejections[0].raw.as_deref(), Some(&content[line_start..]));
    assert_eq!((rejections[0].offset, rejections[0].row), (line_start as u64, good as u64 + 1));
    assert_eq!(rejections[1].offset, content.len() as u64);
    assert_eq!(std::fs::read(rejections[1].copy.as_ref().unwrap()).unwrap(), cut);
}

#[tokio::test]
async fn a_gzip_that_is_corrupt_in_the_middle_keeps_the_rows_before() {
    let (first, mut second) = (gzip(lines(0..100)), gzip(lines(100..200)));
    // The first block of the second member gets a type that DEFLATE does not have.
    second[10] = 0b111;
    let damaged = [first, second, gzip(lines(200..300))].concat();
    let (bench, delivered) = between_good_ones(&damaged).await;
    assert_eq!(delivered.objects[1], "100 rows, 1 corrupt_compression");
    assert_eq!(numbers(&bench).await, (0..100).collect::<Vec<_>>());
    let rejections = bench.rejections();
    assert_eq!((rejections[0].row, rejections[0].offset), (101, lines(0..100).len() as u64));
    assert_eq!(std::fs::read(rejections[0].copy.as_ref().unwrap()).unwrap(), damaged);
}

#[tokio::test]
async fn a_wrong_checksum_is_noticed() {
    let mut damaged = gzip(lines(0..100));
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    let (bench, delivered) = between_good_ones(&damaged).await;
    assert_eq!(delivered.objects[1], "100 rows, 1 corrupt_compression");
    assert_eq!(std::fs::read(bench.rejections()[0].copy.as_ref().unwrap()).unwrap(), damaged);
}

#[tokio::test]
async fn formats_that_are_not_read_are_named_and_kept() {
    let bench = Bench::new(Some(plain_table())).await;
    let formats: [(&str, &[u8]); 5] = [
        ("xz", b"\xFD7zXZ\0\0\x04"),
        ("Parquet", b"PAR1\x15\x04\x15PAR1"),
        ("bzip2", b"BZh91AY&SY"),
        ("lz4", b"\x04\x22\x4D\x18@@"),
        ("Avro", b"Obj\x01\x04\x14"),
    ];
    let mut objects: Vec<Object> =
        formats.iter().map(|(name, content)| bench.put(&format!("{name}.json"), content)).collect();
    objects.push(bench.put("z", lines(0..3)));
    let delivered = bench.deliver(&objects).await;
    assert!(delivered.failed.is_empty());
    assert_eq!(delivered.objects[..5], ["0 rows, 1 unknown_compression"; 5]);
    assert_eq!(bench.numbers().await, [0, 1, 2]);
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), 5);
    for (name, content) in formats {
        let rejection =
            rejections.iter().find(|rejection| rejection.object.ends_with(&format!("{name}.json")));
        let rejection = rejection.unwrap();
        assert!(rejection.message.contains(&format!("is {name}")), "{}", rejection.message);
        assert_eq!(std::fs::read(rejection.copy.as_ref().unwrap()).unwrap(), content);
    }
}

fn crc_32(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

/// A zip archive of one stored entry; `listed` is the CRC-32 that its directory gives.
fn zipped(content: &str, listed: u32) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    let crc = crc_32(content.as_bytes()).to_le_bytes();
    let sizes = [size, size].concat();
    let local =
        [b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", &crc[..], &sizes, b"\x01\0\0\0a", content.as_bytes()].concat();
    let listed = listed.to_le_bytes();
    let header = b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0";
    let central = [&header[..], &listed, &sizes, b"\x01\0", &[0; 16], b"a"].concat();
    let (length, start) = ((central.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &length[..], &start, b"\0\0"].concat();
    [local, central, end].concat()
}

#[tokio::test]
async fn a_zip_that_is_not_what_its_directory_lists_is_kept() {
    let content = lines(0..100);
    let whole = zipped(&content, crc_32(content.as_bytes()));
    let (_, delivered) = between_good_ones(&whole).await;
    assert_eq!(delivered.objects[1], "100 rows");
    for damaged in
        [zipped(&content, 0), [whole.clone(), whole.clone()].concat(), [&whole, &b"{}"[..]].concat()]
    {
        let (bench, delivered) = between_good_ones(&damaged).await;
        assert_eq!(delivered.objects[1], "100 rows, 1 corrupt_compression");
        assert_eq!(std::fs::read(bench.rejections()[0].copy.as_ref().unwrap()).unwrap(), damaged);
    }
}

#[tokio::test]
async fn what_is_compressed_twice_is_read_or_kept_whole() {
    let inner = gzip(lines(0..100));
    let (_, delivered) = between_good_ones(&gzip(&inner)).await;
    assert_eq!(delivered.objects[1], "100 rows");
    let damaged = [&inner[..], &inner[..inner.len() / 2]].concat();
    for (content, outcome) in [
        (gzip(damaged), "100 rows, 1 corrupt_compression"),
        (gzip(zstd::encode_all(lines(0..100).as_bytes(), 1).unwrap()), "0 rows, 1 nested_compression"),
    ] {
        let (bench, delivered) = between_good_ones(&content).await;
        assert!(delivered.objects[1].ends_with(outcome.rsplit(", ").next().unwrap()), "{delivered:?}");
        let copy = bench.rejections().iter().find_map(|rejection| rejection.copy.clone()).unwrap();
        assert_eq!(std::fs::read(copy).unwrap(), content);
    }
}

#[tokio::test]
async fn a_window_that_is_too_large_is_no_damage() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(lines(0..100).as_bytes()).unwrap();
    encoder.flush().unwrap();
    let large = encoder.finish().unwrap();
    for (window_bytes, rows) in [(64 << 20, "0 rows, 1 window_too_large"), (128 << 20, "100 rows")] {
        let bench = Bench::limited(Some(plain_table()), |limits| limits.window_bytes = window_bytes).await;
        let delivered = deliver_between_good_ones(&bench, &large).await;
        assert_eq!(delivered.objects[1], rows);
        if let [rejection] = &bench.rejections()[..] {
            assert_eq!(std::fs::read(rejection.copy.as_ref().unwrap()).unwrap(), large);
        }
    }
}

#[tokio::test]
async fn a_decompression_bomb_keeps_the_rows_below_the_ceiling() {
    const CEILING: u64 = 1_000_000;
    let content = lines(0..200_000);
    let bombs = [gzip(&content), zstd::encode_all(content.as_bytes(), 1).unwrap()];
    for bomb in bombs {
        let limited = Bench::limited(Some(plain_table()), |limits| limits.decompressed_bytes = CEILING);
        let bench = limited.await;
        deliver_between_good_ones(&bench, &bomb).await;
        let rejections = bench.rejections();
        assert_eq!(rejections.last().unwrap().code, "decompression_limit");
        assert_eq!(std::fs::read(rejections.last().unwrap().copy.as_ref().unwrap()).unwrap(), bomb);
        let numbers = numbers(&bench).await;
        let rest = rejections[0].offset as usize;
        assert_eq!(lines(0..numbers.len() as i64), content[..rest], "every row before the rejections stands");
        assert!((CEILING as usize - 200..=CEILING as usize).contains(&rest), "{rest}");
    }
}

#[tokio::test]
async fn an_unterminated_last_record_is_rejected_alone() {
    let content = b"{\"n\":1}\n{\"n\":2}\n{\"n\":3,\"text\":\"c";
    let (bench, delivered) = between_good_ones(content).await;
    assert_eq!(delivered.objects[1], "2 rows, 1 truncated");
    assert_eq!(numbers(&bench).await, [1, 2]);
    let rejection = &bench.rejections()[0];
    assert_eq!((rejection.row, rejection.offset), (3, 16));
    assert_eq!(rejection.raw.as_deref(), Some(&content[16..]));
}

#[tokio::test]
async fn a_last_record_without_a_line_end_is_a_row() {
    let (bench, delivered) = between_good_ones(b"{\"n\":1}\n{\"n\":2}").await;
    assert_eq!(delivered.objects[1], "2 rows");
    assert_eq!(numbers(&bench).await, [1, 2]);
}

#[tokio::test]
async fn byte_order_marks_and_crlf_are_separators() {
    let content = "\u{feff}{\"n\":1}\r\n{\"n\":2}\r\n\r\n\u{feff}{\"n\":3,}\r\n\
                   {\"n\":4,\"text\":\"\\ufeff\u{feff}\"}\r\n";
    let (bench, delivered) = between_good_ones(content.as_bytes()).await;
    assert_eq!(delivered.objects[1], "3 rows, 1 invalid_json");
    assert_eq!(numbers(&bench).await, [1, 2, 4]);
    assert_eq!(bench.rows().await[22]["text"], "\u{feff}\u{feff}", "within a string it is a character");
    assert_eq!(bench.rejections()[0].raw.as_deref(), Some(&b"{\"n\":3,}"[..]));
}

#[tokio::test]
async fn a_top_level_array_without_objects_is_one_rejection() {
    let content = b"[[{\"n\":1}],\n{\"n\":2}]\n";
    let (bench, delivered) = between_good_ones(content).await;
    assert_eq!(delivered.objects[1], "0 rows, 1 not_an_object");
    assert_eq!(bench.rejections()[0].raw.as_deref(), Some(content.trim_ascii_end()));
}

#[tokio::test]
async fn scalars_at_top_level_are_rejections() {
    let content =
        b"12\n{\"n\":1}\n\"text\"\nnull\ntrue\n2026-01-02 03:04:05 ERROR out of {\"n\":7}\n{\"n\":2}\n";
    let (bench, delivered) = between_good_ones(content).await;
    assert_eq!(delivered.objects[1], "2 rows, 1 invalid_json, 4 not_an_object");
    assert_accounted_for(content, &numbers(&bench).await, &bench.rejections());
}

#[tokio::test]
async fn a_record_of_50_megabytes_is_passed_over() {
    let large = format!("{{\"n\":2,\"text\":\"{}\"}}", "x".repeat(50_000_000));
    let content = ["{\"n\":1}\n", &large, "\n{\"n\":3}\n"].concat();
    let (bench, delivered) = between_good_ones(content.as_bytes()).await;
    assert_eq!(delivered.objects[1], "2 rows, 1 record_too_large");
    assert_eq!(numbers(&bench).await, [1, 3]);
    let rejection = &bench.rejections()[0];
    assert_eq!((rejection.row, rejection.offset), (2, 8));
    assert!(rejection.message.contains(&large.len().to_string()), "{}", rejection.message);
    assert!(std::fs::read(rejection.copy.as_ref().unwrap()).unwrap() == content.as_bytes());
}

#[tokio::test]
async fn an_empty_object_is_committed_and_skipped_afterwards() {
    for content in
        [&b""[..], b" \r\n\t\n", b"\xEF\xBB\xBF", &gzip(""), &zstd::encode_all(&b""[..], 1).unwrap()]
    {
        let (bench, delivered) = between_good_ones(content).await;
        assert_eq!(delivered.objects[1], "0 rows");
        assert!(bench.rejections().is_empty());
    }
}

#[tokio::test]
async fn an_empty_object_alone_is_committed_and_skipped_afterwards() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = [bench.put("empty", "")];
    assert_eq!(bench.deliver(&objects).await.objects, ["0 rows"]);
    assert_eq!(bench.deliver(&objects).await.objects, ["known"]);
    assert!(bench.rows().await.is_empty());
}

#[tokio::test]
async fn no_table_is_inferred_from_objects_without_a_record() {
    let bench = Bench::new(None).await;
    let objects =
        [bench.put("empty", ""), bench.put("bad", "nope\n[1]"), bench.put("xz", b"\xFD7zXZ\0\0\x04")];
    for _ in 0..2 {
        let delivered = bench.deliver(&objects).await;
        assert!(delivered.failed.is_empty());
        let expected = ["0 rows", "0 rows, 1 invalid_json, 1 not_an_object", "0 rows, 1 unknown_compression"];
        assert_eq!(delivered.objects, expected);
        assert_eq!(bench.rejections().len(), 3);
    }
    assert!(files(&bench.folder.path().join("warehouse")).is_empty());
}

#[tokio::test]
async fn records_without_fields_are_rows() {
    for definition in [Some(plain_table()), None] {
        let bench = Bench::new(definition).await;
        let objects = [bench.put("a", "{}\n{\"x\":null}\n{}")];
        assert_eq!(bench.deliver(&objects).await.objects, ["3 rows"]);
        assert_eq!(bench.rows().await.len(), 3);
    }
}

#[tokio::test]
async fn an_object_of_bad_rows_alone_is_committed() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let content = b"{\"n\":\"x\"}\nnope\n{\"m\":1}\n{\"n\":1.5}";
    let objects = [bench.put("bad", content)];
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["0 rows, 1 invalid_json, 1 unknown_field, 2 type_mismatch"]);
    assert!(delivered.failed.is_empty());
    assert_accounted_for(content, &[], &bench.rejections());
    assert_eq!(bench.deliver(&objects).await.objects, ["known"]);
    assert_eq!(bench.rejections().len(), 4, "a second delivery adds nothing to the quarantine");
}

#[tokio::test]
async fn binary_junk_is_kept_byte_for_byte() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut content: Vec<u8> = (0..300_000).map(|_| random.u8(..)).collect();
    content.retain(|byte| *byte != TAKEN);
    // No mark of a compressed format.
    content[0] = b'?';
    let (bench, _) = between_good_ones(&content).await;
    let rejections = bench.rejections();
    assert!(rejections.len() > 100);
    assert!(rejections.iter().all(|rejection| rejection.raw.is_some()));
    // Separators are in no line.
    let copy = rejections[0].copy.as_ref().unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), content);
    let kept: usize = rejections.iter().map(|rejection| rejection.raw.as_ref().unwrap().len()).sum();
    let is_separator = |byte: &&u8| byte.is_ascii_whitespace() || **byte == 0x1E;
    let separators = content.iter().filter(is_separator).count();
    assert!(kept + separators >= content.len());
    assert_accounted_for(&content, &numbers(&bench).await, &rejections);
}

#[tokio::test]
async fn odd_keys_stay_where_they_belong() {
    let bench = Bench::new(Some(plain_table())).await;
    let keys = [
        "with space/a b.json",
        "plus+plus.json",
        "münchen süd/日本語-🎉.json",
        "percent%/100%25.json",
        "question?x=1/fragment#top",
        "quote\"'\\backslash",
        "a/../up.json",
        "a/../../outside.json",
        "./dot.json",
        "line\nbreak",
        "=equals&and;semicolon",
    ];
    let objects: Vec<Object> = keys
        .iter()
        .zip(0..)
        .map(|(key, n)| bench.put(key, format!("{{\"n\":{n}}}\n{{\"n\":\"bad {n}\"}}\nrest")))
        .collect();
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, [const { "1 rows, 1 invalid_json, 1 type_mismatch" }; 11]);
    let uri = |key: &str| format!("file://{}/raw/{key}", bench.folder.path().display());
    let rows = bench.rows().await;
    for (row, (key, n)) in rows.iter().zip(keys.iter().zip(0..)) {
        assert_eq!((&row["n"], &row["file_name"]), (&Value::from(n), &Value::from(uri(key))));
    }
    let rejections = bench.rejections();
    for (key, n) in keys.iter().zip(0..) {
        let of_key: Vec<&Rejection> = rejections.iter().filter(|found| found.object == uri(key)).collect();
        assert_eq!(of_key.len(), 2, "{key:?}");
        assert_eq!(of_key[0].raw, Some(format!("{{\"n\":\"bad {n}\"}}").into_bytes()), "{key:?}");
    }
    let quarantined = files(&bench.folder.path().join("errors/quarantine/test.events/raw"));
    assert_eq!(quarantined.len(), keys.len());
    assert_eq!(files(&bench.folder.path().join("errors")), quarantined, "nothing lies elsewhere");
    assert_eq!(bench.deliver(&objects).await.objects, ["known"; 11]);
}

#[tokio::test]
async fn the_quarantine_is_never_read_as_input() {
    let bench = Bench::new(Some(plain_table())).await;
    let cut = gzip(lines(0..100));
    bench.deliver(&[bench.put("bad.gz", &cut[..50]), bench.put("bad.json", "nope")]).await;
    let errors = bench.folder.path().join("errors");
    let own: Vec<Object> = files(&errors)
        .iter()
        .map(|path| path.strip_prefix(&errors).unwrap().to_str().unwrap().to_owned())
        .map(|key| Object { bucket: "errors".into(), key, etag: "1".into() })
        .collect();
    assert_eq!(own.len(), 4, "{own:?}");
    let delivered = bench.deliver(&own).await;
    assert_eq!((delivered.objects, delivered.failed), (vec!["ignored".to_owned(); 4], vec![]));
}

#[tokio::test]
async fn nul_bytes_harm_nobody() {
    let content = b"{\"n\":1,\"text\":\"a\\u0000b\"}\n\0\0\0\n{\"n\":2,\"text\":\"a\0b\"}\n\
                    {\"n\":3}\0\n{\"n\":4}\n\0{\"n\":5}\n";
    let (bench, _) = between_good_ones(content).await;
    let rejections = bench.rejections();
    assert!(rejections.iter().all(|rejection| rejection.code == "invalid_json"), "{rejections:?}");
    let numbers = numbers(&bench).await;
    assert_eq!(numbers[..3], [1, 3, 4]);
    assert_accounted_for(content, &numbers, &rejections);
    assert_eq!(bench.rows().await[20]["text"], "a\0b");
}

#[tokio::test]
async fn text_that_is_not_utf8_rejects_its_row() {
    let content = b"{\"n\":1}\n{\"n\":2,\"text\":\"M\xFCnchen\"}\n{\"n\":3,\"\xFF\":null}\n\
                    {\"n\":4,\"text\":\"\\ud800\"}\n{\"n\":5}\n";
    let (bench, delivered) = between_good_ones(content).await;
    assert_eq!(delivered.objects[1], "2 rows, 2 not_utf8, 1 invalid_json");
    assert_eq!(numbers(&bench).await, [1, 5]);
    let rejections = bench.rejections();
    assert_eq!(codes(&rejections), ["not_utf8", "not_utf8", "invalid_json"]);
    assert_eq!(rejections[0].raw.as_deref(), Some(&b"{\"n\":2,\"text\":\"M\xFCnchen\"}"[..]));
    assert_eq!(rejections[0].message, "byte 16 of the record is not UTF-8");
}

#[tokio::test]
async fn one_bad_row_in_ten_thousand_is_rejected_alone() {
    const BAD: i64 = 6_789;
    let bad = "{\"n\": 6789.5, \"text\": \"half a row\"}";
    let content = format!("{}{bad}\n{}", lines(0..BAD), lines(BAD + 1..10_000));
    let (bench, delivered) = between_good_ones(&gzip(&content)).await;
    assert_eq!(delivered.objects[1], "9999 rows, 1 type_mismatch");
    assert_eq!(numbers(&bench).await, (0..BAD).chain(BAD + 1..10_000).collect::<Vec<_>>());
    let rejections = bench.rejections();
    let [rejection] = &rejections[..] else { unreachable!("one rejection: {rejections:?}") };
    assert_eq!((rejection.row, rejection.offset), (BAD as u64 + 1, lines(0..BAD).len() as u64));
    assert_eq!(rejection.raw.as_deref(), Some(bad.as_bytes()));
    assert!(rejection.message.starts_with("field \"n\": expected long"), "{}", rejection.message);
}

/// The law of the quarantine, on objects of pieces good and bad in any order.
#[tokio::test]
async fn every_byte_is_in_a_row_a_rejection_or_a_separator() {
    let bad: [&[u8]; 14] = [
        b"nope\n",
        b"{\"n\":1.5}\n",
        b"{\"n\":1,\"m\":2}",
        b"{\"n\":\n",
        b"{\"n\":1,\"text\":\"cut\n",
        b"}\n",
        b"[1,{\"n\":2}]\n",
        b"12 34\n",
        b"{\"n\":1,\n  \"text\":[1,2,}\n}\n",
        b"\0\n",
        b"\xFF\n",
        b"{\"n\":1}}\n",
        b"{\"text\":\"x\",\"text\":\"y\"}",
        b"{\"n\" 1}",
    ];
    let separators: [&[u8]; 6] = [b"\n", b"\r\n", b" ", b"\n\n\t", b"\xEF\xBB\xBF", b""];
    let mut random = fastrand::Rng::with_seed(20_260_102);
    let bench = Bench::new(Some(plain_table())).await;
    let contents: Vec<Vec<u8>> = (0..400)
        .map(|_| {
            let pieces = (0..random.i64(1..12)).map(|n| {
                let piece = match random.u8(..6) {
                    0 => random.choice(bad).unwrap().to_vec(),
                    1 => format!("{{\r\n \"n\" : {n},\n \"text\":\n\t{{\"n\": [7]}}\n}}").into_bytes(),
                    _ => format!("{{\"n\":{n}}}").into_bytes(),
                };
                [&piece[..], random.choice(separators).unwrap()].concat()
            });
            pieces.collect::<Vec<_>>().concat()
        })
        .collect();
    let objects: Vec<Object> =
        contents.iter().zip(0..).map(|(content, at)| bench.put(&format!("{at:03}"), content)).collect();
    assert!(bench.deliver(&objects).await.failed.is_empty());
    let (rows, rejections) = (bench.rows().await, bench.rejections());
    assert!(rows.len() > 400 && rejections.len() > 200, "{} and {}", rows.len(), rejections.len());
    for (content, object) in contents.iter().zip(&objects) {
        let of_object = |uri: &str| uri.ends_with(&format!("/{}", object.key));
        let rows = rows.iter().filter(|row| of_object(row["file_name"].as_str().unwrap())).cloned();
        let rejections = rejections.iter().filter(|rejection| of_object(&rejection.object)).cloned();
        assert_accounted_for(
            content,
            &tests::numbers(&rows.collect::<Vec<_>>()),
            &rejections.collect::<Vec<_>>(),
        );
    }
}
