//! Finds CPython's state in a process, from the symbols of the ELF files that it has mapped, both the program and
//! libraries.

use super::error::RemoteError;
use super::maps::{self, Mapping};
use super::target::Target;
use object::read::ReadCache;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, ReadRef};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// CPython in a process.
#[derive(Debug)]
pub(super) struct Located {
    /// The file that contains it, as the process sees it.
    pub file: PathBuf,
    pub state: State,
    /// The addresses of its variables.
    pub variables: Vec<Range<u64>>,
    /// Python 2.7's pointer to its GIL. It is a static variable, so only a file that is not stripped has its symbol.
    pub interpreter_lock: Option<u64>,
}

/// The address of the variable from which everything else is found.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// `_PyRuntime`, from 3.7 on.
    Runtime(u64),
    /// `_PyThreadState_Current`, up to 3.6.
    CurrentThread(u64),
}

/// The contents of a file.
enum Contents {
    CPython(Located),
    PyPy,
    Other,
}

/// Finds CPython among the mapped files: first those named `libp*`, then the program, then the rest.
pub(super) fn locate(target: &Target) -> Result<Located, RemoteError> {
    let mut mappings = maps::executable(target)?;
    let program = target.link("exe").unwrap_or_default();
    mappings.sort_by_key(|mapping| {
        let path = mapping.path.as_os_str().as_bytes();
        let named = path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"libp"));
        (!named, path != program)
    });
    let mut unreadable = None;
    for mapping in &mappings {
        match search(target, mapping) {
            Ok(Contents::CPython(located)) => return Ok(located),
            Ok(Contents::PyPy) => {
                return Err(RemoteError::PyPy { pid: target.pid, file: mapping.path.clone() });
            }
            Ok(Contents::Other) => {}
            // Only the file that contains Python matters, which may be another one.
            Err(error @ (RemoteError::FileChanged { .. } | RemoteError::System { .. })) => {
                unreadable = unreadable.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(unreadable.unwrap_or(RemoteError::NotPython { pid: target.pid, files: mappings.len() }))
}

/// Opens the file of `mapping`: the mapped file itself if this process may follow /proc/PID/map_files
/// (proc_pid_map_files(5)), or else the file that has its name now, in the process's mount namespace.
fn open(target: &Target, mapping: &Mapping) -> io::Result<File> {
    target.open_file(&format!("map_files/{}", mapping.range)).or_else(|_| {
        // An absolute path would not be resolved below `root/`.
        let path = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
        target.open_file_at_root(path)
    })
}

fn search(target: &Target, mapping: &Mapping) -> Result<Contents, RemoteError> {
    let doing = || format!("open {}", mapping.path.display());
    let changed = || RemoteError::FileChanged { pid: target.pid, file: mapping.path.clone() };
    let file = open(target, mapping).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => changed(),
        _ => RemoteError::System { pid: target.pid, doing: doing(), source: error },
    })?;
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(Contents::Other);
    }
    let cache = ReadCache::new(file);
    let Ok(elf) = ElfFile64::<object::Endianness, _>::parse(&cache) else { return Ok(Contents::Other) };
    let Some(bias) = bias(&elf, mapping) else { return Err(changed()) };

    let names = ["_PyRuntime", "_PyThreadState_Current", "pypy_main_startup"];
    let [runtime, current, pypy] = names.map(|name| {
        let named = |symbol: &object::read::elf::ElfSymbol64<_, _>| {
            symbol.is_definition() && symbol.name_bytes() == Ok(name.as_bytes())
        };
        elf.dynamic_symbols().find(named).map(|symbol| symbol.address())
    });
    // From 3.12 on (and in Debian's 3.11) it has a separate section, even in a stripped program.
    let runtime = runtime.or_else(|| Some(elf.section_by_name(".PyRuntime")?.address()));
    let state = match (runtime, current, pypy) {
        (Some(address), _, _) => State::Runtime(address.wrapping_add(bias)),
        (None, Some(address), _) => State::CurrentThread(address.wrapping_add(bias)),
        (None, None, Some(_)) => return Ok(Contents::PyPy),
        (None, None, None) => return Ok(Contents::Other),
    };
    if !is_mapped(target, &elf, &cache, bias)? {
        return Err(changed());
    }
    let lock =
        |symbol: &object::read::elf::ElfSymbol64<_, _>| symbol.name_bytes() == Ok(b"interpreter_lock".as_slice());
    let interpreter_lock = match state {
        State::CurrentThread(_) => elf.symbols().find(lock).map(|symbol| symbol.address().wrapping_add(bias)),
        State::Runtime(_) => None,
    };
    let variables = elf.segments().filter(|segment| segment.permissions().writable()).map(|segment| {
        let start = segment.address().wrapping_add(bias);
        start..start.saturating_add(segment.size())
    });
    Ok(Contents::CPython(Located {
        file: mapping.path.clone(),
        state,
        variables: variables.collect(),
        interpreter_lock,
    }))
}

/// Returns the difference between the addresses in memory and those in the file: 0 for a program linked to a fixed
/// address. `None` if the file has no executable segment at `mapping`.
fn bias<'data, R: ReadRef<'data>>(elf: &ElfFile64<'data, object::Endianness, R>, mapping: &Mapping) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    elf.segments().filter(|segment| segment.permissions().executable()).find_map(|segment| {
        let (offset, size) = segment.file_range();
        let first_page = offset - offset % page;
        let within = (first_page..offset.saturating_add(size)).contains(&mapping.offset);
        let address = segment.address().wrapping_sub(offset).wrapping_add(mapping.offset);
        within.then(|| mapping.start.wrapping_sub(address))
    })
}

/// Returns true if the process has mapped the same beginning of the file, which contains its headers and its build id.
/// Device and inode can't be compared: on an overlay file system they differ between maps and stat(2).
fn is_mapped<'data, R: ReadRef<'data>>(
    target: &Target,
    elf: &ElfFile64<'data, object::Endianness, R>,
    file: R,
    bias: u64,
) -> Result<bool, RemoteError> {
    let Some(segment) = elf.segments().find(|segment| segment.file_range().0 == 0) else { return Ok(false) };
    let size = segment.file_range().1.min(1024);
    let Ok(expected) = file.read_bytes_at(0, size) else { return Ok(false) };
    let mut found = vec![0; size as usize];
    Ok(target.read(segment.address().wrapping_add(bias), &mut found)? && found == expected)
}
