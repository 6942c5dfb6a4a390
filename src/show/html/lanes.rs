//! The lanes of a picture as data for the page's script (lanes.js reads it).

use crate::show::one_line;
use crate::trace::{LanePicture, Picture, Recording, Released, State, Stretch, Times, put_leb128};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// The largest value of a share in a byte. More levels than this can't be distinguished on a screen, and take more
/// space.
const LEVELS: f64 = 63.0;
/// The byte of a share that is unknown.
const UNKNOWN: u8 = 255;

/// What the script reads. Times are in microseconds since the start of the picture.
#[derive(Serialize)]
struct Data {
    /// The start of the picture since the start of the recording, and its length.
    from: f64,
    length: f64,
    lanes: Vec<LaneData>,
    stalls: Vec<StallData>,
    cores: Vec<CoreData>,
    /// The bytes that the offsets point into: compressed (RFC 1951), in base64.
    bytes: String,
}

#[derive(Serialize)]
struct LaneData {
    pid: u32,
    tid: u32,
    gil: u32,
    name: String,
    /// The offset and number of the buckets of the overview, and of the finer one: four planes each, with the shares of
    /// holds, waits, unknown and absent.
    overview: Option<(usize, usize)>,
    fine: Option<(usize, usize)>,
    /// The exact parts: start, offset, number of stretches. A stretch is a LEB128 of `length << 3 | state`.
    exact: Vec<(u64, usize, usize)>,
    /// The offset and number of the buckets of what it did while released: two planes, ran and no CPU.
    released: Option<(usize, usize)>,
}

#[derive(Serialize)]
struct StallData {
    at: f64,
    end: f64,
    /// Indices of lanes. The holder has none if other threads used the GIL more.
    holder: Option<usize>,
    waiters: Vec<usize>,
}

#[derive(Serialize)]
struct CoreData {
    core: u32,
    offset: usize,
    count: usize,
}

/// Returns the JSON.
pub(super) fn data(picture: &Picture, recording: &Recording) -> String {
    let mut bytes = Vec::new();
    let mut places = BTreeMap::new();
    for (index, lane) in picture.lanes.iter().enumerate() {
        places.insert((lane.process, lane.row), index);
    }
    let lanes = picture.lanes.iter().filter_map(|lane| lane_data(lane, picture, recording, &mut bytes)).collect();
    let since = |ns: u64| (ns as f64 - picture.from_ns as f64) / 1e3;
    let stall = |index: &usize| {
        let stall = &recording.stalls.found()[*index];
        let lane = |row: &u64| places.get(&(stall.process, *row)).copied();
        // As in the table, in which a stall has the same index.
        recording.processes.contains_key(&stall.process).then(|| StallData {
            at: since(stall.at_ns),
            end: since(stall.end_ns),
            holder: lane(&stall.holder),
            waiters: stall.waiters.iter().filter_map(lane).collect(),
        })
    };
    let stalls = picture.stalls.iter().filter_map(stall).collect();
    let cores = picture.cores.iter().map(|core| {
        let offset = bytes.len();
        bytes.extend(core.busy.iter().map(|busy| busy.map_or(UNKNOWN, level)));
        CoreData { core: core.core, offset, count: core.busy.len() }
    });
    let cores = cores.collect();
    let data = Data {
        from: picture.from_ns as f64 / 1e3,
        length: (picture.to_ns - picture.from_ns) as f64 / 1e3,
        lanes,
        stalls,
        cores,
        bytes: STANDARD.encode(compressed(&bytes)),
    };
    inside_script(&serde_json::to_string(&data).expect("plain data"))
}

fn lane_data(lane: &LanePicture, picture: &Picture, recording: &Recording, bytes: &mut Vec<u8>) -> Option<LaneData> {
    let process = recording.processes.get(&lane.process)?;
    let thread = &process.threads.get(&lane.row)?.thread;
    let overview = shares(&lane.overview, bytes);
    let fine = shares(&lane.fine, bytes);
    let exact = lane.exact.iter().map(|part| exact(part, picture.from_ns, bytes)).collect();
    let released = (!lane.released.is_empty()).then(|| {
        let offset = bytes.len();
        for share in [|one: &Released| one.ran, |one: &Released| one.no_cpu] {
            bytes.extend(lane.released.iter().map(|one| one.as_ref().map_or(UNKNOWN, |one| level(share(one)))));
        }
        (offset, lane.released.len())
    });
    let (pid, tid, gil, name) = (process.process.pid, thread.tid, thread.gil, one_line(thread.title()));
    Some(LaneData { pid, tid, gil, name, overview, fine, exact, released })
}

/// Appends the shares of each state but the released one, a plane each, which compresses better than bucket by bucket.
fn shares(buckets: &[Times], bytes: &mut Vec<u8>) -> Option<(usize, usize)> {
    if buckets.is_empty() {
        return None;
    }
    let offset = bytes.len();
    let states: [fn(&Times) -> u64; 4] =
        [|times| times.holds, |times| times.waits, |times| times.unknown, |times| times.absent];
    for state in states {
        bytes.extend(buckets.iter().map(|times| level(state(times) as f64 / times.sum().max(1) as f64)));
    }
    Some((offset, buckets.len()))
}

/// Appends the stretches. Each boundary is rounded by itself, so that no error adds up.
fn exact(part: &[Stretch], from_ns: u64, bytes: &mut Vec<u8>) -> (u64, usize, usize) {
    let rounded = |ns: u64| (ns - from_ns + 500) / 1000;
    let (offset, start) = (bytes.len(), part.first().map_or(0, |first| rounded(first.from_ns)));
    let (mut count, mut before) = (0, start);
    for stretch in part {
        let end = rounded(stretch.to_ns);
        if end > before {
            put_leb128(bytes, (end - before) << 3 | code(stretch.state));
            count += 1;
            before = end;
        }
    }
    (start, offset, count)
}

/// The number of a state in the page.
fn code(state: State) -> u64 {
    match state {
        State::Released => 0,
        State::Holds => 1,
        State::Waits => 2,
        // An exact part has no merged stretch.
        State::Unknown | State::Merged(_) => 3,
    }
}

fn level(share: f64) -> u8 {
    (share.clamp(0.0, 1.0) * LEVELS).round() as u8
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to a vector")
}

/// Returns JSON that may stand in a script element: there, `<` could begin a tag.
fn inside_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}
