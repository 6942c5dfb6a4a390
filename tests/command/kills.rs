//! Kills the lab, the supervisor or both at random moments, and checks that no process is left and every file is whole.
//!
//! BUSY_KILLS is the number of kills: 12 by default, 500 for `make soak`. Each kill has its own seed. If a kill fails
//! the test, its seed is printed, and BUSY_KILLS=1 BUSY_KILLS_SEED=... repeats it.

use crate::harness::{Sandbox, command_line, finish, signal, wait_for};
use crate::namespaces::Namespaces;
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

/// The number of runs at a time.
const CONCURRENT_RUNS: usize = 3;
/// The experiments to kill at the start or in a case. Some need packages, and are skipped if these are not yet
/// installed for this user.
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

/// Returns the number in an environment variable.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Returns the number of kills of a test.
pub fn kills() -> u64 {
    number("BUSY_KILLS").unwrap_or(12)
}

#[test]
fn killing_lab_supervisor_or_both_leaves_no_process_or_partial_file() {
    let kills = kills();
    let seed = number("BUSY_KILLS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    println!("BUSY_KILLS={kills} BUSY_KILLS_SEED={seed}");

    let (next, failed, tally) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    scope(|scope| {
        for _ in 0..CONCURRENT_RUNS {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= kills {
                        break;
                    }
                    let _on_failure = OnFailure { seed: seed + nth, failed: &failed };
                    for event in kill_once(seed + nth) {
                        *tally.lock().unwrap().entry(event).or_insert(0) += 1;
                    }
                }
            });
        }
    });
    println!("{:#?}", tally.into_inner().unwrap());
}

/// Prints the seed and stops the other threads if the kill fails the test.
struct OnFailure<'a> {
    seed: u64,
    failed: &'a AtomicBool,
}

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if panicking() {
            self.failed.store(true, Ordering::Relaxed);
            eprintln!("failed; repeat with BUSY_KILLS=1 BUSY_KILLS_SEED={}", self.seed);
        }
    }
}

/// Starts a run, kills its lab, its supervisor or both, and checks the processes and files that are left. Returns the
/// events to count in the tally.
fn kill_once(seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let sandbox = Sandbox::new();
    let namespaces = Namespaces::new();
    let (file, temporary) = (sandbox.path("result.json"), sandbox.path("tmp"));
    fs::write(&file, "earlier").unwrap();
    fs::create_dir(&temporary).unwrap();
    let moment = *random.choice(&["start", "case", "end"][..]).unwrap();
    let experiments = if moment == "end" { &["ctypes", "extension"] } else { &EXPERIMENTS[..] };
    let experiment = *random.choice(experiments).unwrap();
    let mut arguments = vec!["run", experiment, "-d", "1", "--json", file.to_str().unwrap()];
    share_packages(&sandbox);
    // The child of this interpreter has a session of its own, so that no signal to the interpreter's group reaches it.
    let python = sandbox.fake_interpreter("setsid sleep 1000 & echo >> $HOME/ran; sleep 0.03");
    if moment == "end" {
        arguments.extend(["-p", &python]);
    }
    let wrapper = namespaces.as_ref().map_or_else(Vec::new, Namespaces::enter);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let child = sandbox.command_under(&wrapper, &arguments).env("TMPDIR", &temporary).spawn().unwrap();
    let is_lab = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word == "run");
    let lab = || sandbox.processes().into_iter().find(is_lab);
    wait_for("the start of the lab", || lab().is_some());
    let wait = match moment {
        // The lab queries interpreters, unpacks texts and compiles an extension module. Then it waits for a quiet
        // machine.
        "start" => 1.5 * random.f64(),
        "case" => {
            let runs = |pid: &u32| command_line(*pid).get(1).is_some_and(|word| word.ends_with(".py"));
            wait_for("the start of the first case", || sandbox.processes().iter().any(runs) || lab().is_none());
            4.0 * random.f64()
        }
        // Every one of the four cases fails, and the results are written after the last one.
        _ => {
            let cases_run = || fs::read_to_string(sandbox.path("ran")).unwrap_or_default().lines().count();
            wait_for("the last case", || cases_run() >= 4 || lab().is_none());
            0.08 * random.f64()
        }
    };
    sleep(Duration::from_secs_f64(wait));

    let victims = *random.choice(&["lab", "supervisor", "both"][..]).unwrap();
    let supervisors = sandbox.processes_in_role("__supervisor");
    let victims = if supervisors.is_empty() { "lab (no supervisor was running)" } else { victims };
    if victims != "supervisor" {
        lab().into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
    if !victims.starts_with("lab") {
        supervisors.into_iter().for_each(|pid| signal(pid, Signal::KILL));
    }
    if victims == "supervisor" {
        // The lab continues with the next case. All cases would take too long.
        sleep(Duration::from_millis(random.u64(..500)));
        lab().into_iter().for_each(|pid| signal(pid, Signal::INT));
    }
    finish(child, Duration::from_secs(90));
    sandbox.assert_no_process_left(victims);
    let mut events =
        vec![format!("killed: {victims}"), format!("moment: {moment}"), format!("experiment: {experiment}")];
    match namespaces {
        Some(namespaces) => namespaces.assert_empty(),
        None => events.push("not checked: sockets, shared memory and processes without the mark".into()),
    }
    for path in sandbox.files().into_iter().filter(|path| !path.is_dir()) {
        events.extend(assert_whole(&sandbox, &path));
    }
    events
}

/// Lets the run import the packages that are installed for this user, since the namespaces have no network.
fn share_packages(sandbox: &Sandbox) {
    let installed = busy_lab::paths::cache().map(|cache| cache.join("packages"));
    let Some(installed) = installed.filter(|installed| installed.is_dir()) else { return };
    let cache = sandbox.path(".cache/busy");
    fs::create_dir_all(&cache).unwrap();
    symlink(installed, cache.join("packages")).unwrap();
}

/// Checks that a killed run may leave the file at `path`, and that it is whole. Returns its kind for the tally, if it
/// is to be counted.
fn assert_whole(sandbox: &Sandbox, path: &Path) -> Option<String> {
    let content = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_whole = || serde_json::from_slice(&content).is_ok_and(|json: serde_json::Value| json["schema"] == 1);
    let is_page = || content.starts_with(b"<!DOCTYPE html>") && content.trim_ascii_end().ends_with(b"</html>");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = sandbox.path(".cache/busy");
    if path.starts_with(cache.join("packages")) {
        return None;
    }
    if let Ok(below) = path.strip_prefix(&cache) {
        // An unfinished entry keeps its temporary name, which starts with a dot. The next run removes it.
        if below.iter().any(|part| part.as_encoded_bytes().starts_with(b".")) {
            return None;
        }
        if let Some(source) = ["experiments", "src/provision/scripts", "c-examples", "ffi/include", "pyext/python/busy"]
            .map(|folder| repository.join(folder).join(name))
            .iter()
            .find(|file| file.exists())
        {
            assert_eq!(content, fs::read(source).unwrap(), "{} is incomplete", path.display());
        } else {
            assert!(content.starts_with(b"\x7fELF"), "{} is incomplete", path.display());
        }
        return None;
    }
    match name {
        "python" | "ran" => None,
        "result.json" if content == b"earlier" => Some("results: earlier".into()),
        "result.json" => {
            assert!(is_whole(), "{} is damaged: {}", path.display(), String::from_utf8_lossy(&content));
            Some("results: new".into())
        }
        // In results/new_file.rs, a file is whole under its temporary name between its link and its rename.
        _ if name.starts_with(".busy-") && (is_whole() || is_page()) => {
            Some("a whole file under its temporary name".into())
        }
        _ if path.parent().unwrap().ends_with("runs") && name.ends_with(".json") && is_whole() => {
            Some("a kept copy".into())
        }
        _ if path.parent().unwrap().ends_with("runs") && name.ends_with(".html") && is_page() => {
            Some("its page".into())
        }
        _ => panic!("unexpected or damaged file {}: {}", path.display(), String::from_utf8_lossy(&content)),
    }
}
