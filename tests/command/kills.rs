//! Kills lab, guard, or both at random moments: nothing is left, and nothing is half written.
//!
//! BUSY_KILLS says how often (12 if not given, `make soak` 500). Each time has a seed of its own, which is printed when
//! it fails: BUSY_KILLS=1 BUSY_KILLS_SEED=... does the same again.

use crate::cell::Cell;
use crate::harness::{Bench, command_line, finish, signal, wait_for};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{panicking, scope, sleep};
use std::time::Duration;

/// How many are under way at once.
const AT_ONCE: usize = 3;
/// What is killed at its start or in a case: what needs no package, and what does, if that is installed for the user already.
const EXPERIMENTS: [&str; 14] = [
    "csp",
    "pool",
    "late-worker",
    "queues",
    "pp-remote",
    "pp-disconnect",
    "cython",
    "ctypes",
    "extension",
    "generator",
    "libev",
    "gevent",
    "asyncio",
    "interpreters",
];

#[test]
fn killing_lab_guard_or_both_at_any_moment_leaves_nothing() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let kills = number("BUSY_KILLS").unwrap_or(12);
    let seed = number("BUSY_KILLS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    println!("BUSY_KILLS={kills} BUSY_KILLS_SEED={seed}");

    let (next, failed, tally) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= kills {
                        break;
                    }
                    let _alarm = Alarm { seed: seed + nth, failed: &failed };
                    for what in kill_once(seed + nth) {
                        *tally.lock().unwrap().entry(what).or_insert(0) += 1;
                    }
                }
            });
        }
    });
    println!("{:#?}", tally.into_inner().unwrap());
}

/// Says which seed failed, and stops the others.
struct Alarm<'a> {
    seed: u64,
    failed: &'a AtomicBool,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if panicking() {
            self.failed.store(true, Ordering::Relaxed);
            eprintln!("failed; BUSY_KILLS=1 BUSY_KILLS_SEED={} does the same again", self.seed);
        }
    }
}

/// Starts a run, kills, and looks for what is left; returns what was done and seen, for the tally.
fn kill_once(seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let bench = Bench::new();
    let cell = Cell::new();
    let (file, temporary) = (bench.path("result.json"), bench.path("tmp"));
    fs::write(&file, "earlier").unwrap();
    fs::create_dir(&temporary).unwrap();
    let moment = *random.choice(&["start", "case", "end"][..]).unwrap();
    let experiments = if moment == "end" { &["ctypes", "extension"] } else { &EXPERIMENTS[..] };
    let experiment = *random.choice(experiments).unwrap();
    let mut arguments = vec!["run", experiment, "-d", "1", "--json", file.to_str().unwrap()];
    lend_packages(&bench);
    // With a child that no signal to its group reaches.
    let python = bench.false_interpreter("setsid sleep 1000 & echo >> $HOME/ran; sleep 0.03");
    if moment == "end" {
        arguments.extend(["-p", &python]);
    }
    let wrapper = cell.as_ref().map_or_else(Vec::new, Cell::enter);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let outer = bench.under(&wrapper, &arguments).env("TMPDIR", &temporary).spawn().unwrap();
    let is_lab = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word == "run");
    let lab = || bench.processes().into_iter().find(is_lab);
    wait_for("the lab", || lab().is_some());
    let wait = match moment {
        // Interpreters are asked, texts unpacked, an extension module is compiled; then it waits for a quiet machine.
        "start" => 1.5 * random.f64(),
        "case" => {
            let runs = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word.ends_with(".py"));
            wait_for("the first case", || bench.processes().iter().any(runs) || lab().is_none());
            4.0 * random.f64()
        }
        // Results are written once the last case has failed.
        _ => {
            let cases = if experiment == "ctypes" { 3 } else { 4 };
            let ran = || fs::read_to_string(bench.path("ran")).unwrap_or_default().lines().count();
            wait_for("the last case", || ran() >= cases || lab().is_none());
            0.08 * random.f64()
        }
    };
    sleep(Duration::from_secs_f64(wait));

    let victims = *random.choice(&["lab", "guard", "both"][..]).unwrap();
    let guards = bench.role("__supervisor");
    let victims = if guards.is_empty() { "lab (no guard is there)" } else { victims };
    if victims != "guard" {
        lab().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
    if !victims.starts_with("lab") {
        guards.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
    if victims == "guard" {
        // The lab goes on with its next case; all would take long.
        sleep(Duration::from_millis(random.u64(..500)));
        lab().into_iter().for_each(|pid| signal(pid, Signal::INT));
    }
    finish(outer, Duration::from_secs(90));
    bench.assert_nobody_left(victims);
    let mut seen = vec![format!("killed: {victims}"), format!("moment: {moment}"), format!("ran: {experiment}")];
    match cell {
        Some(cell) => cell.assert_empty(),
        None => seen.push("not looked for ports, shared memory and processes without a mark".into()),
    }
    for path in bench.files().into_iter().filter(|path| !path.is_dir()) {
        seen.extend(assert_whole(&bench, &path));
    }
    seen
}

/// Lets the run import the packages that are installed for this user, since the cell has no network.
fn lend_packages(bench: &Bench) {
    let installed = busy_lab::paths::cache().map(|cache| cache.join("packages"));
    let Some(installed) = installed.filter(|installed| installed.is_dir()) else { return };
    let cache = bench.path(".cache/busy");
    fs::create_dir_all(&cache).unwrap();
    symlink(installed, cache.join("packages")).unwrap();
}

/// Asserts that the file is one of those that a killed run may leave, and that it is whole. Returns what it is.
fn assert_whole(bench: &Bench, path: &Path) -> Option<String> {
    let content = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_whole = || serde_json::from_slice(&content).is_ok_and(|json: serde_json::Value| json["schema"] == 1);
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = bench.path(".cache/busy");
    if path.starts_with(cache.join("packages")) {
        return None;
    }
    if let Ok(below) = path.strip_prefix(&cache) {
        // An entry that was cut off stays under a temporary name (a dot first), and the next run removes it.
        if below.iter().any(|part| part.as_encoded_bytes().starts_with(b".")) {
            return None;
        }
        if let Some(source) = ["experiments", "src/provision/scripts", "c-examples", "ffi/include", "pyext/python/busy"]
            .map(|folder| own.join(folder).join(name))
            .iter()
            .find(|file| file.exists())
        {
            assert_eq!(content, fs::read(source).unwrap(), "{} is not whole", path.display());
        } else {
            assert!(content.starts_with(b"\x7fELF"), "{} is not whole", path.display());
        }
        return None;
    }
    match name {
        "python" | "ran" => None,
        "result.json" if content == b"earlier" => Some("results: the earlier ones".into()),
        "result.json" => {
            assert!(is_whole(), "{} is damaged: {}", path.display(), String::from_utf8_lossy(&content));
            Some("results: new ones".into())
        }
        // results/new_file.rs: between its link and its rename, a file is whole under a temporary name.
        _ if name.starts_with(".busy-") && is_whole() => Some("a whole file under its temporary name".into()),
        _ if path.parent().unwrap().ends_with("runs") && name.ends_with(".json") && is_whole() => {
            Some("a kept copy".into())
        }
        _ => panic!("{} is left behind: {}", path.display(), String::from_utf8_lossy(&content)),
    }
}
