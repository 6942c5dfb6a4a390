//! The picture without a script: the busiest lanes, each state as one path.

use super::recorded::Recorded;
use crate::trace::{LanePicture, Picture, Released};
use askama::Template;

/// The number of lanes.
const LANES: usize = 12;
/// The number of columns of a lane.
const COLUMNS: usize = 160;
/// The sizes, in units of the picture.
const WIDTH: usize = 960;
const LABEL: usize = 160;
const LANE: usize = 18;
const GAP: usize = 4;
/// The colours of the states in a file of its own, as in page.css.
const STYLE: &str = "text{font:11px monospace;fill:#1b1f24}.holds{fill:#0072b2}.waits{fill:#d55e00}.no-cpu{fill:#cc79a7}\
                     .ran{fill:#009e73}.released{fill:#8fcfba}.sleeps{fill:#dfe4e9}.unknown{fill:#7a7f87}";
/// The states, from the bottom of a lane to its top.
const STATES: [&str; 7] = ["holds", "waits", "no-cpu", "ran", "released", "sleeps", "unknown"];

#[derive(Template)]
#[template(path = "picture.svg")]
struct Svg {
    width: usize,
    height: usize,
    label: usize,
    title: String,
    style: &'static str,
    legend: Vec<(usize, &'static str, &'static str)>,
    rows: Vec<Row>,
    foot: usize,
    start: String,
    end: String,
}

struct Row {
    text: usize,
    label: String,
    paths: Vec<(&'static str, String)>,
}

/// Returns the picture as an element of a page.
pub(super) fn element(picture: &Picture, recorded: &Recorded<'_>) -> String {
    svg(picture, recorded, "")
}

/// Returns the picture as a file of its own.
pub(super) fn file(picture: &Picture, recorded: &Recorded<'_>) -> String {
    svg(picture, recorded, STYLE)
}

fn svg(picture: &Picture, recorded: &Recorded<'_>, style: &'static str) -> String {
    let top = if style.is_empty() { 0 } else { LANE + GAP };
    let rows: Vec<Row> = picture
        .lanes
        .iter()
        .take(LANES)
        .enumerate()
        .map(|(index, lane)| {
            let y = top + index * (LANE + GAP);
            Row { text: y + LANE - 5, label: recorded.label(lane.process, lane.row), paths: paths(lane, picture, y) }
        })
        .collect();
    let foot = top + rows.len() * (LANE + GAP) + 12;
    let legend = [
        ("holds", "holds"),
        ("waits", "waits"),
        ("no-cpu", "no CPU"),
        ("ran", "runs"),
        ("sleeps", "sleeps"),
        ("released", "ran or slept"),
    ];
    let legend = legend.iter().enumerate().map(|(index, (class, text))| (LABEL + index * 110, *class, *text));
    let seconds = |ns: u64| format!("{:.3} s", ns as f64 / 1e9);
    let svg = Svg {
        width: WIDTH,
        height: foot + 6,
        label: LABEL,
        title: recorded.summary(),
        style,
        legend: if style.is_empty() { Vec::new() } else { legend.collect() },
        rows,
        foot,
        start: seconds(picture.from_ns),
        end: seconds(picture.to_ns),
    };
    svg.render().expect("writing to a string")
}

/// Returns the path of each state of a lane whose top is at `y`.
fn paths(lane: &LanePicture, picture: &Picture, y: usize) -> Vec<(&'static str, String)> {
    let buckets = lane.buckets(picture, COLUMNS);
    let mut columns = Vec::with_capacity(COLUMNS);
    for (index, times) in buckets.iter().enumerate() {
        let all = times.sum().max(1) as f64;
        let of = |ns: u64| ns as f64 / all;
        let released = of(times.released);
        let known = lane.released.get(index * lane.released.len() / COLUMNS).copied().flatten();
        let parts = known.map_or([0.0, 0.0, released, 0.0], |Released { ran, no_cpu }| {
            [released * no_cpu, released * ran, 0.0, released * (1.0 - ran - no_cpu)]
        });
        columns.push([of(times.holds), of(times.waits), parts[0], parts[1], parts[2], parts[3], of(times.unknown)]);
    }
    let width = (WIDTH - LABEL) as f64 / COLUMNS as f64;
    let mut paths = Vec::new();
    for (state, class) in STATES.iter().enumerate() {
        let mut path = String::new();
        let mut column = 0;
        while column < COLUMNS {
            let below: f64 = columns[column][..state].iter().sum();
            let share = columns[column][state];
            // Equal columns are one rectangle.
            let same = columns[column..].iter().take_while(|other| {
                (other[state] - share).abs() < 0.02 && (other[..state].iter().sum::<f64>() - below).abs() < 0.02
            });
            let count = same.count().max(1);
            if share > 0.02 {
                let (x, lane_height) = (LABEL as f64 + column as f64 * width, LANE as f64);
                let (bottom, height) = (y as f64 + lane_height * (1.0 - below), lane_height * share);
                path += &format!("M{x:.0} {bottom:.1}h{:.0}v-{height:.1}h-{0:.0}z", count as f64 * width);
            }
            column += count;
        }
        if !path.is_empty() {
            paths.push((*class, path));
        }
    }
    paths
}
