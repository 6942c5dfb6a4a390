//! The page: one self-contained HTML file of recordings, checks and runs. It loads nothing from anywhere, which its
//! Content-Security-Policy also forbids, and it can be read without JavaScript.

mod check;
mod flame;
mod lanes;
mod places;
mod record;
mod recorded;
mod run;
mod svg;

pub use recorded::Recorded;

use crate::results::{CheckResult, RunResult};
use crate::show::visible;
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use check::CheckSection;
use record::RecordSection;
use run::RunSection;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    include_str!("lanes.js"),
    include_str!("timeline.js"),
    include_str!("flame.js"),
    include_str!("tables.js"),
    include_str!("page.js")
);

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    busy: &'static str,
    style: &'static str,
    style_hash: String,
    script: &'static str,
    script_hash: String,
    /// The HTML of each result.
    sections: Vec<String>,
}

/// The results of a page.
#[derive(Default)]
pub struct Results<'a> {
    /// Recordings.
    pub recorded: Vec<Recorded<'a>>,
    /// Experiments.
    pub runs: Vec<&'a RunResult>,
    /// Checks.
    pub checks: Vec<&'a CheckResult>,
}

/// Returns the page of these results.
pub fn page(title: &str, results: &Results<'_>) -> String {
    let mut sections: Vec<String> = results.recorded.iter().map(RecordSection::html).collect();
    sections.extend((!results.checks.is_empty()).then(|| CheckSection::html(&results.checks)));
    sections.extend((!results.runs.is_empty()).then(|| RunSection::html(&results.runs)));
    // Names and messages from outside may have control characters.
    let sections = sections.iter().map(|section| visible(section)).collect();
    let page = Page {
        title,
        busy: env!("CARGO_PKG_VERSION"),
        style: STYLE,
        style_hash: source_hash(STYLE),
        script: SCRIPT,
        script_hash: source_hash(SCRIPT),
        sections,
    };
    page.render().expect("writing to a string")
}

/// Returns the picture of a recording alone, as SVG.
pub fn picture_svg(recorded: &Recorded<'_>) -> Option<String> {
    recorded.picture.as_ref().map(|picture| svg::file(picture, recorded))
}

/// Returns the source expression that allows this text inline (Content Security Policy Level 3, "hash-source").
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
