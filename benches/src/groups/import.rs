//! The duration of `import busy`.

use super::bench::Bench;
use crate::child::{self, Trouble, source, text};
use crate::quiet::{self, Rounds};
use crate::row::{Row, Unit, Wanted};

pub fn rows() -> Vec<Row> {
    vec![
        Row::ratio("import", "import busy", "import ctypes", "in a fresh interpreter", Unit::Us)
            .wanted(Wanted::AtMost(0.3)),
    ]
}

pub fn measure(bench: &Bench) -> Result<Vec<Rounds>, Trouble> {
    let pairs = bench.size(15, 1).to_string();
    let script = text(&source("python/imports.py"));
    let command = [text(&bench.python()?.command), "-I".into(), script, pairs];
    Ok(vec![quiet::rounds(bench.plan(15), || child::round(bench.measured, &command))?])
}
