//! CPython's version, from the text that `Py_GetVersion` (Python/getversion.c) leaves in a static buffer when Python is
//! initialised, for example `3.11.7 (main, Feb 1 2025, 10:00:00) [GCC 12.2.0]`. `Py_Version` exists from 3.11 on only.

use super::error::RemoteError;
use super::target::Target;
use std::ops::Range;

/// The version, and the address at which it was found, so that it can be checked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// For example, `3.11.7` or `3.15.0b2+`.
    pub text: String,
    pub major: u8,
    pub minor: u8,
    pub address: u64,
}

impl Version {
    /// Searches `variables` for the text.
    pub fn find(target: &Target, variables: &[Range<u64>]) -> Result<Option<Self>, RemoteError> {
        const STEP: u64 = 4096;
        /// The number of bytes read beyond the end of a page, for a text that crosses it. The buffer has 250 or 300
        /// bytes.
        const LONGEST: u64 = 320;
        /// The maximum number of bytes searched, larger than the variables of any Python.
        const MOST: u64 = 256 << 20;
        for range in variables {
            let mut start = range.start;
            let end = range.end.min(start.saturating_add(MOST));
            while start < end {
                let page = (STEP - start % STEP).min(end - start);
                let mut bytes = vec![0; (page + LONGEST).min(end - start) as usize];
                if !target.read(start, &mut bytes)? {
                    bytes.truncate(page as usize);
                    // This fails at the last page. It would also fail if part of the range were unmapped, which no
                    // loader does.
                    if !target.read(start, &mut bytes)? {
                        break;
                    }
                }
                if let Some((offset, text)) = find(&bytes)
                    && let Some((major, minor)) = numbers(text)
                {
                    return Ok(Some(Self { text: text.to_owned(), major, minor, address: start + offset as u64 }));
                }
                start += page;
            }
        }
        Ok(None)
    }

    /// Returns true if the text is still where it was.
    pub fn is_there(&self, target: &Target) -> Result<bool, RemoteError> {
        let mut bytes = vec![0; self.text.len()];
        Ok(target.read(self.address, &mut bytes)? && bytes == self.text.as_bytes())
    }
}

/// Returns the offset of the first version text in `bytes`, and the version.
fn find(bytes: &[u8]) -> Option<(usize, &str)> {
    let starts = bytes.windows(2).enumerate().filter(|(_, pair)| matches!(*pair, [b'2' | b'3', b'.']));
    starts.map(|(start, _)| start).find_map(|start| {
        if start > 0 && bytes[start - 1].is_ascii_graphic() {
            return None;
        }
        let text = bytes[start..].split(|byte| *byte == 0).next()?;
        let text = str::from_utf8(text).ok()?;
        // A free-threaded build has words between the number and the parenthesis.
        let (version, rest) = text.split_once(" (")?;
        let version = version.split(' ').next()?;
        let compiler = rest.split_once(") ")?.1;
        (compiler.trim_start().starts_with('[') && numbers(version).is_some()).then_some((start, version))
    })
}

/// Returns the first two of at least three numbers.
fn numbers(version: &str) -> Option<(u8, u8)> {
    let mut fields = version.split('.');
    let (major, minor) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let micro = fields.next()?;
    (micro.starts_with(|first: char| first.is_ascii_digit()) && version.len() < 40).then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_py_get_version_is_distinguished_from_other_text() {
        for (text, version) in [
            ("\0\0".to_owned() + "3.11.7 (main, Feb  1 2025, 10:00:00) [GCC 12.2.0]\0rest", Some("3.11.7")),
            ("2.7.18 (default, May  9 2026, 01:02:03) \n[GCC 12.2.0]\0".to_owned(), Some("2.7.18")),
            (
                "x\u{1}3.15.0b2+ (heads/main:abc, Nov  1 2026, 10:00:00) [Clang 19.1 (x)]\0".to_owned(),
                Some("3.15.0b2+"),
            ),
            ("3.13.0 experimental free-threading build (main, Nov  1 2026) [GCC 12.2.0]\0".to_owned(), Some("3.13.0")),
            ("13.11.7 (main) [GCC]\0".to_owned(), None),
            ("3.11 (main) [GCC]\0".to_owned(), None),
            ("3.11.7 (main, GCC)\0".to_owned(), None),
            ("3.11.7".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(find(text.as_bytes()).map(|(_, found)| found), version, "{text:?}");
        }
    }
}
