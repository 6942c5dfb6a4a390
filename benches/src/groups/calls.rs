//! The cost of a Python call that does nothing, with the GIL held and with the GIL released.

use super::bench::Bench;
use crate::child::{self, Trouble, compile, source, text};
use crate::quiet::{self, Rounds};
use crate::row::{Row, Unit, Wanted};

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, kind, [varargs, o, ctypes]) in
        [("with_lock", "PyDLL", [0.8, 1.3, 0.4]), ("without_lock", "CDLL", [0.95, 1.3, 0.5])]
    {
        let row = |row: &str, peer: String, bound: Option<f64>| {
            let row =
                Row::ratio(format!("{name}-{row}"), &format!("busy.{name}(0.0)"), "", peer, Unit::Ns).without_peer();
            Row { wanted: bound.map(Wanted::AtMost), ..row }
        };
        rows.extend([
            row("varargs", "a C extension, METH_VARARGS".into(), Some(varargs)),
            row("o", "a C extension, METH_O".into(), Some(o)),
            row("ctypes", format!("ctypes.{kind}, busy_wait(0)"), Some(ctypes)),
            row("ctypes-c", format!("ctypes.{kind}, the same work in C"), Some(ctypes)),
        ]);
        if name == "without_lock" {
            rows.push(row("cffi", "cffi in API mode, the same work in C".into(), None));
        }
    }
    rows
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let python = bench.python()?;
    let peers = bench.peers()?;
    let folder = bench.folder.join(format!("modules-{}", python.name()));
    std::fs::create_dir_all(&folder)?;
    let include = format!("-I{}", text(&python.include));
    let module = |name: &str| folder.join(format!("{name}{}", python.suffix));
    let flags = ["-shared".into(), "-fPIC".into(), include];
    compile(&source("c/calls.c"), &module("calls"), &flags)?;

    let cffi = folder.join("busy_cffi.c");
    let script = text(&source("python/cffi_source.py"));
    let no_cffi = match bench.run_python(&[&script, &text(&cffi)]) {
        Ok(()) => {
            let linked = [text(&peers), "-Wl,-rpath,$ORIGIN/..".into()];
            compile(&cffi, &module("busy_cffi"), &[&flags[..], &linked].concat()).err()
        }
        Err(trouble) => Some(trouble),
    };
    let why = match no_cffi {
        Some(Trouble::Interrupted) => return Err(Trouble::Interrupted),
        Some(Trouble::Failed(why)) => Some(why),
        None => None,
    };

    let calls = bench.size(20_000, 1_000).to_string();
    let script = text(&source("python/calls.py"));
    let (python, folder, libbusy, peers) = (text(&python.command), text(&folder), text(&bench.libbusy), text(&peers));
    let command = [python, "-I".into(), script, folder, libbusy, peers, calls];
    let rounds = quiet::rounds(bench.plan(21), || {
        let mut round = child::round(bench.measured, &command)?;
        if let (Some(why), Some(reason)) = (&why, round.missing.get_mut("without_lock-cffi")) {
            reason.clone_from(why);
        }
        Ok(round)
    })?;
    Ok(vec![rounds])
}
