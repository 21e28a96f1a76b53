//! The page of `frazil health`: one file, without scripts and without anything from elsewhere.
//!
//! In: the health of tables. Out: HTML. Colours follow the reader's choice of light or dark.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use lake::{Health, HistoryEntry, PartitionHealth, SIZE_CLASSES};

use super::charts::{Point, bars, line};
use super::words::{ago, clock, escaped, percent, short};

/// Most partitions and snapshots in a table.
const MAX_LISTED: usize = 30;

const STYLE: &str = "
:root{--ink:#1d2733;--soft:#5b6876;--ground:#f6f7f9;--card:#fff;--edge:#e2e6eb;--main:#2563c9;--fill:#2563c91f;--good:#1b7f4b;--due:#a3560a;--dueground:#fdf3e6}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#9aa7b4;--ground:#12171d;--card:#1a2129;--edge:#2b343e;--main:#6ea8ff;--fill:#6ea8ff26;--good:#5fcf97;--due:#f0b265;--dueground:#2c241a}}
*{box-sizing:border-box}
body{margin:0;padding:2rem 1rem;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:76rem;margin:0 auto}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.25rem;margin:2.5rem 0 .2rem}h3{font-size:.95rem;margin:0 0 .6rem}
p{margin:.2rem 0}.soft{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;margin:1rem 0}
.tile,.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.9rem 1rem}
.tile b{display:block;font-size:1.45rem;font-weight:600;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:.8rem;margin:.8rem 0}
.due{border-left:4px solid var(--due);background:var(--dueground)}.good{border-left:4px solid var(--good)}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--edge);white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:.85rem}th:first-child,td:first-child{text-align:left}
.share{background:linear-gradient(to right,var(--fill) var(--share),transparent 0)}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}svg .value{fill:var(--ink)}
.grid{stroke:var(--edge)}.line{fill:none;stroke:var(--main);stroke-width:2;stroke-linejoin:round}.area{fill:var(--fill)}
.bar{fill:var(--main)}.bar:hover{opacity:.75}.point{fill:var(--main);opacity:0}.point:hover{opacity:1}
";

/// The page about `tables`.
pub(super) fn page(tables: &[Health]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Health of tables</title><style>",
    );
    html.push_str(STYLE);
    html.push_str("</style></head><body><main><h1>Health of tables</h1>");
    if let Some(first) = tables.first() {
        let _ = write!(html, "<p class=\"soft\">as of {}</p>", clock(first.at_ms));
    } else {
        html.push_str("<p>There are no tables.</p>");
    }
    tables.iter().for_each(|health| table(&mut html, health));
    html.push_str("</main></body></html>\n");
    html
}

fn table(html: &mut String, health: &Health) {
    let version = health.format_version;
    let _ = write!(html, "<h2>{}</h2><p class=\"soft\">format version {version}</p>", escaped(&health.table));
    tiles(html, health);
    due(html, health);
    html.push_str("<div class=\"cards\">");
    let over_time = |get: fn(&HistoryEntry) -> Option<u64>| -> Vec<Point> {
        health.history.iter().filter_map(|entry| Some((entry.time_ms, get(entry)? as f64))).collect()
    };
    card(html, "Rows of the table", &line(&over_time(|entry| entry.rows), "rows"));
    card(html, "Bytes of the table", &line(&over_time(|entry| entry.bytes), "bytes"));
    card(html, "Rows that came with each snapshot", &line(&over_time(|entry| entry.added_rows), "rows"));
    card(html, "Data files by size", &bars(&sizes(health), "files"));
    let mut last: Vec<&PartitionHealth> =
        health.partitions.iter().filter(|partition| !partition.name.is_empty()).collect();
    last.sort_by(|one, other| (other.updated_ms, &other.name).cmp(&(one.updated_ms, &one.name)));
    html.push_str("</div>");
    references(html, health);
    partitions(html, health, &last);
    snapshots(html, health);
}

fn tiles(html: &mut String, health: &Health) {
    html.push_str("<div class=\"tiles\">");
    let mut tile = |value: String, what: String| {
        let _ = write!(html, "<div class=\"tile\"><b>{value}</b><span>{what}</span></div>");
    };
    tile(short(health.rows as f64), "rows".to_owned());
    tile(HumanBytes(health.bytes).to_string(), format!("in {} data files", HumanCount(health.files)));
    let small = HumanBytes(health.small_below_bytes);
    tile(percent(health.small_files, health.files), format!("of the files are below {small}"));
    tile(
        HumanCount(health.delete_files).to_string(),
        format!("delete files, {} deletes", HumanCount(health.deletes)),
    );
    let since = |time_ms: Option<i64>| time_ms.map_or("-".to_owned(), |time_ms| ago(health.at_ms - time_ms));
    tile(since(health.appended_ms), "since the last append".to_owned());
    if health.newest_event_ms.is_some() {
        tile(since(health.newest_event_ms), "since the newest event came".to_owned());
    }
    if let Some(growth) = health.growth {
        let bytes = HumanBytes(growth.bytes.max(0.0) as u64);
        tile(
            short(growth.rows.round()),
            format!("rows a day, {bytes}, in {} commits", short(growth.commits.round())),
        );
    }
    let metadata = HumanBytes(health.metadata_bytes);
    tile(HumanCount(health.snapshots).to_string(), format!("snapshots, {metadata} of metadata"));
    html.push_str("</div>");
}

fn due(html: &mut String, health: &Health) {
    if health.due.is_empty() {
        html.push_str("<div class=\"card good\">No upkeep is due.</div>");
    }
    for due in &health.due {
        let (why, command) = (escaped(&due.why), escaped(&due.command));
        let _ = write!(
            html,
            "<div class=\"card due\"><p><b>{}</b>: {why}</p><p><code>{command}</code></p></div>",
            escaped(&due.what.replace('_', " "))
        );
    }
}

fn card(html: &mut String, title: &str, chart: &str) {
    let chart =
        if chart.is_empty() { "<p class=\"soft\">One snapshot tells of no change.</p>" } else { chart };
    let _ = write!(html, "<div class=\"card\"><h3>{title}</h3>{chart}</div>");
}

fn sizes(health: &Health) -> Vec<(String, f64)> {
    let name = |bytes: u64| match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    };
    let last = SIZE_CLASSES.last().map_or(0, |bytes| *bytes);
    let names = SIZE_CLASSES.iter().map(|bytes| format!("< {}", name(*bytes)));
    let names = names.chain([format!("\u{2265} {}", name(last))]);
    names.zip(health.files_by_size.iter().map(|count| *count as f64)).collect()
}

fn references(html: &mut String, health: &Health) {
    if health.references.is_empty() {
        return;
    }
    open(
        html,
        "Branches and tags",
        &["name", "kind", "snapshot", "committed", "commits ahead", "rows ahead"],
    );
    for reference in &health.references {
        let kind = if reference.is_branch { "branch" } else { "tag" };
        row(
            html,
            &[
                escaped(&reference.name),
                kind.to_owned(),
                reference.snapshot_id.to_string(),
                clock(reference.time_ms),
                HumanCount(reference.ahead).to_string(),
                HumanCount(reference.ahead_rows).to_string(),
            ],
        );
    }
    close(html);
}

fn partitions(html: &mut String, health: &Health, last: &[&PartitionHealth]) {
    if last.is_empty() {
        return;
    }
    let hidden = last.len().saturating_sub(MAX_LISTED);
    let title = match (hidden, &health.other_partitions) {
        (0, None) => "Partitions".to_owned(),
        (hidden, _) => format!("Partitions that were written to last; {hidden} more are not shown"),
    };
    open(html, &title, &["partition", "rows", "files", "small", "bytes", "delete files", "updated"]);
    let shown = || last.iter().take(MAX_LISTED);
    let largest = shown().map(|partition| partition.bytes).max().unwrap_or(0);
    for partition in shown() {
        let counts = [partition.rows, partition.files, partition.small_files]
            .map(|count| HumanCount(count).to_string());
        let [rows, files, small] = counts;
        let updated = partition.updated_ms.map_or("-".to_owned(), clock);
        let (bytes, deletes) = (HumanBytes(partition.bytes).to_string(), partition.delete_files.to_string());
        // How large it is beside the largest.
        let share = partition.bytes as f64 * 100.0 / largest.max(1) as f64;
        let _ = write!(html, "<tr class=\"share\" style=\"--share:{share:.1}%\">");
        cells(html, &[escaped(&partition.name), rows, files, small, bytes, deletes, updated]);
    }
    close(html);
}

fn snapshots(html: &mut String, health: &Health) {
    open(
        html,
        "Last snapshots",
        &["committed", "snapshot", "operation", "rows added", "rows", "files", "bytes"],
    );
    let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| HumanCount(count).to_string());
    for entry in health.history.iter().rev().take(MAX_LISTED) {
        row(
            html,
            &[
                clock(entry.time_ms),
                entry.snapshot_id.to_string(),
                escaped(&entry.operation),
                number(entry.added_rows),
                number(entry.rows),
                number(entry.files),
                entry.bytes.map_or("-".to_owned(), |bytes| HumanBytes(bytes).to_string()),
            ],
        );
    }
    close(html);
}

fn open(html: &mut String, title: &str, columns: &[&str]) {
    let _ = write!(html, "<div class=\"cards\"><div class=\"card scroll\"><h3>{title}</h3><table><tr>");
    columns.iter().for_each(|column| {
        let _ = write!(html, "<th>{column}</th>");
    });
    html.push_str("</tr>");
}

fn row(html: &mut String, content: &[String]) {
    html.push_str("<tr>");
    cells(html, content);
}

fn cells(html: &mut String, content: &[String]) {
    content.iter().for_each(|cell| {
        let _ = write!(html, "<td>{cell}</td>");
    });
    html.push_str("</tr>");
}

fn close(html: &mut String) {
    html.push_str("</table></div></div>");
}
