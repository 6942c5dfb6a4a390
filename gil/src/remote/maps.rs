//! The files that a process has mapped as executable, from proc_pid_maps(5). Paths may contain any bytes, so a crate
//! that parses text can't be used.

use super::error::RemoteError;
use super::target::Target;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An executable mapping of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The name under /proc/PID/map_files: `start-end`, hexadecimal.
    pub range: String,
    pub start: u64,
    /// The offset in the file.
    pub offset: u64,
    /// The path as the process sees it. Newlines are `\012`, and a removed file has ` (deleted)` behind it.
    pub path: PathBuf,
}

/// Returns the first executable mapping of every file.
pub(super) fn executable(target: &Target) -> Result<Vec<Mapping>, RemoteError> {
    let maps = target.file("maps").map_err(|error| target.failed("read /proc/PID/maps", error))?;
    let mut found: Vec<Mapping> = Vec::new();
    for mapping in maps.split(|byte| *byte == b'\n').filter_map(parse) {
        if found.iter().all(|known| known.path != mapping.path) {
            found.push(mapping);
        }
    }
    Ok(found)
}

/// Parses `address perms offset dev inode path`. Returns `None` if the mapping is not executable, or has no file.
fn parse(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut text = || str::from_utf8(fields.next()?).ok();
    let (range, perms, offset, _device, _inode) = (text()?, text()?, text()?, text()?, text()?);
    let path = fields.next()?.trim_ascii_start();
    if !perms.contains('x') || !path.starts_with(b"/") {
        return None;
    }
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping {
        range: range.to_owned(),
        start: hexadecimal(range.split_once('-')?.0)?,
        offset: hexadecimal(offset)?,
        path: PathBuf::from(OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_files_are_found_whatever_bytes_their_paths_have() {
        let found = parse(b"7f00a000-7f00b000 r-xp 00002000 fe:01 77                 /a b/caf\xe9 (deleted)").unwrap();
        assert_eq!((found.start, found.offset, &*found.range), (0x7f00_a000, 0x2000, "7f00a000-7f00b000"));
        assert_eq!(found.path.as_os_str().as_bytes(), b"/a b/caf\xe9 (deleted)");
        for other in [
            &b"7f00a000-7f00b000 rw-p 00002000 fe:01 77 /lib/x.so"[..],
            b"7f00a000-7f00b000 r-xp 00000000 00:00 0 [vdso]",
            b"7f00a000-7f00b000 r-xp 00000000 00:00 0 ",
            b"nonsense",
            b"",
        ] {
            assert_eq!(parse(other), None);
        }
    }
}
