//! `busy report`: the summary, the page, a picture or the JSON of recordings, checks and runs.

use super::arguments::ReportArguments;
use super::output::{Output, OutputError, note};
use super::output_paths::{Outputs, PathError};
use crate::results::{AnyResult, Document, NewFile, NewFileError, ReadError, RecordResult, read_results};
use crate::show;
use crate::show::html::{self, Recorded, Results};
use crate::trace::{self, FileError, Recording};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The reason why no page was written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A recording can't be read.
    #[error(transparent)]
    Recording(#[from] FileError),
    /// A file of results can't be read.
    #[error(transparent)]
    Results(#[from] ReadError),
    /// A file would be overwritten that is read or written as well, or stdout is named.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The page can't be written.
    #[error(transparent)]
    Page(#[from] NewFileError),
    /// The JSON or the summary can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The part has no time in it.
    #[error("the recording {0} has nothing from {1:.3} s {2}: expected a part of its {3:.3} s with --from and --to")]
    NoPart(PathBuf, f64, String, f64),
    /// Results have no part.
    #[error("--from and --to choose a part of a recording: expected a recording (FILE.busy) among the files")]
    NoRecording,
    /// There is no picture without a recording.
    #[error("no picture can be drawn: expected a recording (FILE.busy) with threads among the files")]
    NoPicture,
}

/// What one file has.
enum Source {
    Recording(Box<(Recording, RecordResult)>),
    Results(Vec<AnyResult>),
}

impl Source {
    fn results(&self) -> Vec<AnyResult> {
        match self {
            Self::Recording(read) => vec![AnyResult::Record(Box::new(read.1.clone()))],
            Self::Results(results) => results.clone(),
        }
    }

    /// Returns the summary, as the command printed it that wrote the file at `path`.
    fn text(&self, path: &Path) -> String {
        let results = match self {
            Self::Recording(read) => return show::record(&read.1, Some(path)),
            Self::Results(results) => results,
        };
        let (mut runs, mut checks) = (Document::new(), Document::new());
        let mut text = String::new();
        for result in results {
            match result {
                AnyResult::Record(result) => text += &show::record(result, None),
                AnyResult::Run(result) => runs.results.push((**result).clone()),
                AnyResult::Check(result) => checks.results.push((**result).clone()),
            }
        }
        if !runs.results.is_empty() {
            text += &show::run(&runs);
        }
        if !checks.results.is_empty() {
            text += &show::checks(&checks);
        }
        text
    }
}

/// Writes the page, the picture of the first recording, and the JSON, as far as they are wanted; prints the summary if neither
/// page nor picture is.
///
/// # Errors
/// See [`ReportError`].
pub fn report(arguments: &ReportArguments) -> Result<ExitCode, ReportError> {
    let mut outputs = Outputs::of(arguments.files.iter().map(PathBuf::as_path));
    let json = arguments.json.as_deref();
    let file = json.filter(|path| *path != Path::new("-"));
    for (option, path) in [("-o", arguments.output.as_deref()), ("--svg", arguments.svg.as_deref()), ("--json", file)] {
        path.map_or(Ok(()), |path| outputs.add(option, path))?;
    }
    let mut output = Output::open(json)?;
    let page = arguments.output.as_deref().map(NewFile::open).transpose()?;
    let svg = arguments.svg.as_deref().map(NewFile::open).transpose()?;
    let sources = arguments.files.iter().map(|path| Ok((path.as_path(), source(path)?)));
    let sources = sources.collect::<Result<Vec<_>, ReportError>>()?;
    let has_recording = sources.iter().any(|(_, source)| matches!(source, Source::Recording(_)));
    if !has_recording && (arguments.from.is_some() || arguments.to.is_some()) {
        return Err(ReportError::NoRecording);
    }
    let nanoseconds = |seconds: std::time::Duration| u64::try_from(seconds.as_nanos()).unwrap_or(u64::MAX);
    let part = (arguments.from.map_or(0, nanoseconds), arguments.to.map_or(u64::MAX, nanoseconds));
    let mut all = Results::default();
    for (path, source) in &sources {
        match source {
            Source::Recording(read) => all.recorded.push(pictured(path, &read.0, &read.1, part)?),
            Source::Results(results) => results.iter().for_each(|result| match result {
                AnyResult::Record(result) => all.recorded.push(Recorded { result, recording: None, picture: None }),
                AnyResult::Run(result) => all.runs.push(result),
                AnyResult::Check(result) => all.checks.push(result),
            }),
        }
    }
    if let Some(svg) = svg {
        let picture = all.recorded.iter().find_map(html::picture_svg).ok_or(ReportError::NoPicture)?;
        svg.replace(picture.as_bytes())?;
    }
    if let Some(page) = page {
        page.replace(html::page(&title(&arguments.files), &all).as_bytes())?;
    }
    let is_summary = arguments.output.is_none() && arguments.svg.is_none();
    if is_summary || json.is_some() {
        let text = || {
            if is_summary { sources.iter().map(|(path, source)| source.text(path)).collect() } else { String::new() }
        };
        let results = sources.iter().flat_map(|(_, source)| source.results());
        output.write(&Document { results: results.collect(), ..Document::new() }, text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the page of one recording.
///
/// # Errors
/// See [`ReportError`].
pub fn recording_page(path: &Path, title: &str) -> Result<String, ReportError> {
    let recording = recording(path)?;
    let result = trace::result(&recording);
    let recorded = vec![pictured(path, &recording, &result, (0, u64::MAX))?];
    Ok(html::page(title, &Results { recorded, ..Results::default() }))
}

/// Returns the page of a result that has no recording.
pub fn result_page(result: &RecordResult, title: &str) -> String {
    let recorded = vec![Recorded { result, recording: None, picture: None }];
    html::page(title, &Results { recorded, ..Results::default() })
}

fn pictured<'a>(
    path: &Path,
    recording: &'a Recording,
    result: &'a RecordResult,
    (from, to): (u64, u64),
) -> Result<Recorded<'a>, ReportError> {
    let known = recording.known_until_ns;
    let is_whole = (from, to) == (0, u64::MAX);
    if !is_whole && from.max(1) >= to.min(known) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let until = if to == u64::MAX { "on".into() } else { format!("to {:.3} s", seconds(to)) };
        return Err(ReportError::NoPart(path.to_path_buf(), seconds(from), until, seconds(known)));
    }
    let has_threads = recording.processes.values().any(|process| !process.threads.is_empty());
    let picture = has_threads.then(|| trace::picture(recording, from, to));
    Ok(Recorded { result, recording: Some(recording), picture })
}

fn source(path: &Path) -> Result<Source, ReportError> {
    if is_recording(path).map_err(|error| FileError::Unreadable(path.to_path_buf(), error))? {
        let recording = recording(path)?;
        let result = trace::result(&recording);
        return Ok(Source::Recording(Box::new((recording, result))));
    }
    Ok(Source::Results(read_results(path)?))
}

/// Reads a recording, and reports it if the file is damaged or has no end.
fn recording(path: &Path) -> Result<Recording, FileError> {
    let recording = Recording::read(path)?;
    let path = path.display();
    if let Some(damage) = recording.rest.damage() {
        note(&format!("busy: {path} is {damage}"));
    } else if recording.end.is_none() {
        let known_s = recording.known_until_ns as f64 / 1e9;
        note(&format!("busy: {path} ends at {known_s:.3} s: it is still being recorded, or {}", trace::KILLED));
    }
    Ok(recording)
}

/// Returns true if the file begins as a recording does, of this or another version of the format.
fn is_recording(path: &Path) -> io::Result<bool> {
    let mark = &trace::HEAD[..14];
    let mut head = Vec::new();
    File::open(path)?.take(mark.len() as u64).read_to_end(&mut head)?;
    // It may have been cut off there.
    Ok(mark.starts_with(&head))
}

fn title(files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}
