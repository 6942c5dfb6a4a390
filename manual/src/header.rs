//! A header of libbusy, and the manual page that is made from its comments.

use roff::{Inline, Roff, bold, roman};

/// The labels that begin a paragraph in the comment of a function.
const LABELS: [&str; 10] = [
    "Ownership:",
    "GIL:",
    "NULL:",
    "Blocking:",
    "Cancellation:",
    "Threads:",
    "Signals:",
    "Errors:",
    "Returns:",
    "Times:",
];

/// A header of libbusy.
pub struct Header {
    /// The conventions that hold for all functions: the lines of the first comment that follows the includes.
    conventions: Vec<String>,
    entries: Vec<Entry>,
}

/// A declaration with its comment.
struct Entry {
    /// The comment's lines.
    comment: Vec<String>,
    /// The declaration's lines.
    declaration: Vec<String>,
}

impl Header {
    /// Reads a header that cbindgen has written.
    pub fn parse(text: &str) -> Self {
        let mut header = Self { conventions: Vec::new(), entries: Vec::new() };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let comment: Vec<String> = match line.trim_end() {
                "/*" | "/**" => lines.by_ref().take_while(|line| line.trim() != "*/").map(uncommented).collect(),
                line if line.starts_with("/* ") && line.ends_with(" */") => vec![line[3..line.len() - 3].into()],
                _ => continue,
            };
            let mut declaration: Vec<String> = Vec::new();
            while let Some(line) = lines.peek().filter(|line| !line.is_empty()) {
                declaration.push((*line).to_owned());
                lines.next();
            }
            match declaration.is_empty() {
                // Without a declaration: the conventions, or the remark that the file is generated.
                true if comment.len() > 1 => header.conventions = comment,
                true => {}
                false => header.entries.push(Entry { comment, declaration }),
            }
        }
        header
    }

    /// Returns the names of the functions.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(Entry::function)
    }

    /// Returns the page `name` of section 3. `file` is the name of the header.
    pub fn page(&self, name: &str, file: &str, about: &str) -> String {
        let mut page = Roff::new();
        let source = concat!("busy ", env!("CARGO_PKG_VERSION"));
        page.control("TH", [&*name.to_uppercase(), "3", "", source, "Library Functions Manual"]);
        let mut names: Vec<&str> = self.functions().collect();
        names.sort_unstable_by_key(|function| *function != name);
        page.control("SH", ["NAME"]);
        page.text([roman(format!("{} - {about}", names.join(", ")))]);
        page.control("SH", ["SYNOPSIS"]);
        verbatim(&mut page, &[format!("#include <{file}>")]);
        for entry in self.entries.iter().filter(|entry| entry.function().is_some()) {
            verbatim(&mut page, &entry.declaration);
        }
        page.control("PP", []);
        page.text([roman("Compile and link with the output of "), bold("pkg-config --cflags --libs busy"), roman(".")]);
        page.control("SH", ["DESCRIPTION"]);
        conventions(&mut page, &self.conventions);
        for (title, is_here) in [
            ("FUNCTIONS", (|entry| entry.function().is_some()) as fn(&Entry) -> bool),
            ("TYPES", |entry| entry.function().is_none() && !entry.is_macro()),
            ("CONSTANTS", Entry::is_macro),
        ] {
            page.control("SH", [title]);
            self.entries.iter().filter(|entry| is_here(entry)).for_each(|entry| entry.write(&mut page));
        }
        page.control("SH", ["SEE ALSO"]);
        let other = if name == "busy_wait" { "busy_gil" } else { "busy_wait" };
        page.text([bold("busy"), roman("(1), "), bold(other), roman("(3), "), bold("pkg-config"), roman("(1)")]);
        with_date(&page.render())
    }
}

/// Returns a page with an empty date in its first line, which roff leaves out: what follows would take its place.
pub fn with_date(page: &str) -> String {
    page.replacen("  \"busy ", " \"\" \"busy ", 1)
}

impl Entry {
    /// Returns the name of the function that is declared.
    fn function(&self) -> Option<&str> {
        let first =
            self.declaration.first().filter(|line| !line.starts_with("#define") && !line.starts_with("typedef"))?;
        let before = first.split_once('(')?.0;
        before.rsplit([' ', '*']).next()
    }

    fn is_macro(&self) -> bool {
        self.declaration[0].starts_with("#define")
    }

    fn write(&self, page: &mut Roff) {
        let title = match self.function() {
            Some(function) => format!("{function}()"),
            None if self.is_macro() => self.declaration.join("\n"),
            None => self.declaration[0].trim_end_matches(['{', ' ', ';']).to_owned(),
        };
        page.control("SS", [&*title.lines().next().unwrap_or_default().replace(" \\", "")]);
        prose(page, &self.comment);
        if self.function().is_none() && self.declaration.len() > 1 && !self.is_macro() {
            self.write_fields(page);
        }
    }

    /// Writes the fields of a struct, each with its comment.
    fn write_fields(&self, page: &mut Roff) {
        let mut comment = Vec::new();
        for line in &self.declaration[1..self.declaration.len() - 1] {
            match line.trim() {
                "/**" => comment.clear(),
                "*/" => {}
                text if text.starts_with('*') => comment.push(uncommented(text)),
                field => {
                    page.control("TP", []);
                    page.text([bold(field)]);
                    page.text(words(&comment.join(" ")));
                }
            }
        }
    }
}

/// Returns a line of a comment without the asterisk at its beginning.
fn uncommented(line: &str) -> String {
    let text = line.trim_start();
    let text = text.strip_prefix('*').unwrap_or(text);
    text.strip_prefix(' ').unwrap_or(text).trim_end().to_owned()
}

/// Writes lines that keep their breaks.
fn verbatim(page: &mut Roff, lines: &[String]) {
    page.control("PP", []);
    page.control("nf", []);
    for line in lines {
        page.text([bold(line.as_str())]);
    }
    page.control("fi", []);
}

/// Writes the conventions: paragraphs, and rows of a label and a text, which goes on below the text.
fn conventions(page: &mut Roff, lines: &[String]) {
    let mut is_row = false;
    for line in lines {
        let label = line.split_once("  ").filter(|(label, _)| !label.is_empty() && label.len() < 11);
        match label {
            Some((label, text)) => {
                page.control("TP", []);
                page.text([bold(label)]);
                page.text(words(text.trim_start()));
                is_row = true;
            }
            None if line.is_empty() => is_row = false,
            None => {
                if !is_row && !line.starts_with(' ') {
                    page.control("PP", []);
                    is_row = true;
                }
                page.text(words(line.trim_start()));
            }
        }
    }
}

/// Writes the lines of a comment as paragraphs. A list's items, and a label, begin paragraphs of their own.
fn prose(page: &mut Roff, lines: &[String]) {
    let mut begins = true;
    for line in lines {
        if line.is_empty() {
            begins = true;
        } else if let Some(item) = line.strip_prefix("- ") {
            page.control("IP", ["\u{2022}", "2"]);
            page.text(words(item));
            begins = false;
        } else {
            let label = LABELS.iter().find(|label| line.starts_with(**label));
            if begins || label.is_some() {
                page.control("PP", []);
            }
            let text = label.map_or(&**line, |label| &line[label.len()..]);
            let label = label.map(|label| bold(*label));
            page.text(label.into_iter().chain(words(text)).collect::<Vec<_>>());
            begins = false;
        }
    }
}

/// Returns a text with the parts between backquotes in bold type.
fn words(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
/* Generated; do not edit. */

/*
 * x.h: the X.
 *
 * Names      All names start
 *            with x_.
 * The rest   Is silence.
 */

/* Initialises an x: x one = X_INIT; */
#define X_INIT {0}

/**
 * One X.
 */
typedef struct x {
    /**
     * The size of `x`,
     * in bytes.
     */
    size_t size;
} x;

/**
 * Makes an X. 'Quoted' and -minus.
 *
 * - `one`: the X;
 *   must not be NULL.
 *
 * Blocking: no.
 * Errors: none.
 */
const char *x_make(struct x *one,
                   int number);
";

    #[test]
    fn a_page_has_each_declaration_and_its_comment() {
        let header = Header::parse(HEADER);
        assert_eq!(header.functions().collect::<Vec<_>>(), ["x_make"]);
        let page = header.page("x", "x.h", "the X");
        let source = env!("CARGO_PKG_VERSION");
        assert!(page.contains(&format!(".TH X 3 \"\" \"busy {source}\" \"Library Functions Manual\"\n")), "{page}");
        for part in [
            "x_make \\- the X",
            "\\fBconst char *x_make(struct x *one,\\fR",
            ".TP\n\\fBNames\\fR\nAll names start\nwith x_.",
            ".SS x_make()\n.PP\nMakes an X.",
            ".IP \u{2022} 2\n\\fBone\\fR: the X;",
            ".PP\n\\fBBlocking:\\fR no.\n.PP\n\\fBErrors:\\fR none.",
            ".SS \"typedef struct x\"\n.PP\nOne X.\n.TP\n\\fBsize_t size;\\fR\nThe size of \\fBx\\fR, in bytes.",
            ".SS \"#define X_INIT {0}\"\n.PP\nInitialises an x:",
        ] {
            assert!(page.contains(part), "{part:?} not found in {page}");
        }
    }

    #[test]
    fn every_function_of_the_headers_is_found() {
        let functions = |text| Header::parse(text).functions().map(str::to_owned).collect::<Vec<_>>();
        let mut found = [functions(crate::BUSY_H), functions(crate::BUSY_GIL_H)].concat();
        found.sort_unstable();
        assert_eq!(found, include_str!("../../ffi/abi/symbols.txt").lines().collect::<Vec<_>>());
    }
}
