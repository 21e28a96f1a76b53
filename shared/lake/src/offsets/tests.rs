use std::collections::BTreeSet;

use super::*;

fn stream() -> Stream {
    Stream::new("arn:aws:kafka:r:1:cluster/c/u-1", "dev.shop_orders-1", "")
}

fn ranges(offsets: &[(i64, i64)]) -> Ranges {
    let mut ranges = Ranges::default();
    offsets.iter().for_each(|(from, to)| ranges.insert(*from, *to));
    ranges
}

#[test]
fn ranges_are_what_a_set_of_numbers_is() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
        let (mut other, mut other_model) = (Ranges::default(), BTreeSet::new());
        for _ in 0..random.usize(..20) {
            let from = random.i64(0..60);
            let to = from + random.i64(0..8);
            let (ranges, model) = match random.bool() {
                true => (&mut ranges, &mut model),
                false => (&mut other, &mut other_model),
            };
            ranges.insert(from, to);
            model.extend(from..to);
        }
        assert_eq!(ranges.meets(&other), !model.is_disjoint(&other_model), "{ranges} {other}");
        assert!(ranges.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges}");
        ranges.merge(&other);
        model.extend(&other_model);
        for offset in -1..70 {
            assert_eq!(ranges.contains(offset), model.contains(&offset), "{offset} in {ranges}");
        }
        assert_eq!((ranges.count(), ranges.end()), (model.len() as u64, model.last().map_or(0, |it| it + 1)));
        let mut shorter = ranges.clone();
        shorter.shorten(3);
        for offset in 0..70 {
            assert_eq!(
                shorter.contains(offset) || shorter.is_unsure_of(offset),
                model.contains(&offset) || offset < shorter.floor,
                "{offset} in {shorter}"
            );
        }
    }
}

#[test]
fn text_is_short_and_gives_the_same_offsets_again() {
    let mut offsets = Offsets::default();
    for (partition, offset, time) in
        [(0, 18, Some(1000)), (0, 19, Some(1010)), (0, 23, None), (12, 7, Some(990)), (12, 8, None)]
    {
        offsets.insert(&stream(), partition, offset, time);
    }
    let text = offsets.to_string();
    let name = stream().to_string();
    assert!(name.ends_with("/dev.shop_orders-1") && name.len() == 12 + 18, "{name}");
    assert_eq!(text, format!("{name}@990+20=0:18+2-3+1|12:7+2"));
    assert_eq!(Offsets::parse(&text).as_ref(), Some(&offsets));
    let odd = Stream::new("c", "a b,c;d=|@~/", "2026/1");
    assert_eq!(odd.to_string()[12..], *"/a%20b%2Cc%3Bd%3D%7C%40%7E%2F/2026%2F1");
    offsets.insert(&odd, i32::MAX, i64::MAX - 1, None);
    offsets.merge(&Offsets {
        streams: [(
            stream(),
            Taken { times: None, partitions: [(3, Ranges { ranges: vec![], floor: 5 })].into() },
        )]
        .into(),
    });
    let text = offsets.to_string();
    assert!(!text.contains([',', ';']), "{text}");
    assert_eq!(Offsets::parse(&text), Some(offsets));
    assert_eq!(Offsets::parse(""), Some(Offsets::default()));
}

#[test]
fn damaged_text_is_no_set() {
    for text in [
        "x",
        "x=",
        "x=0",
        "x=0:",
        "x=0:1",
        "x=0:1+0",
        "x=0:1+2-0+1",
        "x=0:1+2-",
        "x=a:1+1",
        "x=0:-1+2",
        "x@1=0:1+1",
        "x@1+-1=0:1+1",
        "x=0:9223372036854775807+1",
        "x=0:1+1|",
        "x=0:~1+1",
        "x=0:1+1 y",
    ] {
        if text == "x=0:" {
            assert!(Offsets::parse(text).is_some(), "a partition of which nothing is known");
        } else {
            assert_eq!(Offsets::parse(text), None, "{text}");
        }
    }
}

#[test]
fn times_tell_another_record_at_the_same_offset() {
    let mut offsets = Offsets::default();
    offsets.insert(&stream(), 0, 5, Some(1000));
    offsets.insert(&stream(), 0, 6, Some(2000));
    for (time, excluded) in
        [(Some(1000), false), (Some(1500), false), (Some(2001), true), (Some(1), true), (None, false)]
    {
        assert_eq!(offsets.excludes_time(&stream(), time), excluded, "{time:?}");
    }
    let mut timeless = Offsets::default();
    timeless.insert(&stream(), 0, 5, None);
    assert!(!timeless.excludes_time(&stream(), Some(1)));
}

#[test]
fn clusters_topics_and_lives_are_apart() {
    let mut offsets = Offsets::default();
    offsets.insert(&Stream::new("c", "t", ""), 0, 5, None);
    for (other, meets) in [
        (Stream::new("c", "t", ""), true),
        (Stream::new("d", "t", ""), false),
        (Stream::new("c", "u", ""), false),
        (Stream::new("c", "t", "2"), false),
    ] {
        let mut others = Offsets::default();
        others.insert(&other, 0, 5, None);
        assert_eq!(offsets.meets(&others), meets, "{other}");
    }
    assert_eq!(ranges(&[(1, 3), (3, 4)]), ranges(&[(1, 4)]));
}
