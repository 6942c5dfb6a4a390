//! The place of the GIL in CPython's state, by version, for x86-64.
//!
//! Up to 3.12 it comes from tables, which were made from each version's headers: struct _gil_runtime_state in
//! Include/internal/pycore_gil.h (3.7: gil.h), its place in struct pyruntimestate (pycore_runtime.h; 3.8:
//! pycore_pystate.h; 3.7: pystate.h) or struct _is (pycore_interp.h), struct _ts in Include/pystate.h (3.8 on:
//! cpython/pystate.h). From 3.13 on CPython itself provides it: struct _Py_DebugOffsets at the beginning of
//! `_PyRuntime` (pycore_runtime.h; 3.14 on: pycore_debug_offsets.h).

use super::error::RemoteError;
use super::target::Target;

/// The offsets of the fields of a PyThreadState.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ThreadOffsets {
    /// `thread_id`, a pthread_t.
    pub thread_id: u64,
    /// `native_thread_id`, the kernel's id, from 3.11 on.
    pub native: Option<u64>,
}

/// The place of a version's GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// 2.7 and 3.6: the GIL can't be found. But a thread is the current thread (`PyThreadState_Swap`) only while it
    /// holds the GIL.
    None,
    /// 3.7 to 3.11: in `_PyRuntime`, at `gil`. The list of interpreters at `head` is empty if Python is not
    /// initialised.
    Runtime { gil: u64, head: u64 },
    /// From 3.12 on: each interpreter points to its GIL.
    Interpreter(InterpreterOffsets),
}

/// The offsets by which an interpreter's GIL is found, from 3.12 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InterpreterOffsets {
    /// The first interpreter of the list, in `_PyRuntime`.
    pub head: u64,
    /// The id of an interpreter, in its PyInterpreterState. The following offsets are in it, too.
    pub id: u64,
    pub next: u64,
    /// The pointer to the GIL.
    pub gil: u64,
    pub fields: GilOffsets,
}

/// The offsets of the fields of struct _gil_runtime_state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GilOffsets {
    /// Nonzero if there is a GIL; only in free-threaded builds.
    pub enabled: Option<u64>,
    /// The switch interval, in microseconds.
    pub interval: u64,
    /// The PyThreadState that holds the GIL, or was the last to hold it.
    pub last_holder: u64,
    pub locked: u64,
    /// Increases whenever the GIL is acquired by another thread than the last holder (`take_gil`).
    pub switch_number: u64,
    /// The beginning of `cond`, `mutex`, `switch_cond` and `switch_mutex`.
    pub cond: u64,
    /// The size of the struct.
    pub size: u64,
}

impl GilOffsets {
    /// The offsets of 3.7 to 3.15.
    pub const USUAL: Self =
        Self { enabled: None, interval: 0, last_holder: 8, locked: 16, switch_number: 24, cond: 32, size: 208 };

    /// The offsets of a free-threaded build, whose struct begins with `int enabled`.
    const FREE_THREADED: Self =
        Self { enabled: Some(0), interval: 8, last_holder: 16, locked: 24, switch_number: 32, cond: 40, size: 216 };
}

/// All offsets of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offsets {
    pub place: Place,
    pub thread: ThreadOffsets,
}

/// Returns the offsets of CPython `major`.`minor` from the tables, or `None` from 3.13 on and for unsupported versions.
pub(super) fn by_table(major: u8, minor: u8) -> Option<Offsets> {
    let (place, thread_id, native) = match (major, minor) {
        (2, 7) => (Place::None, 144, None),
        (3, 6) => (Place::None, 152, None),
        (3, 7) => (Place::Runtime { gil: 1264, head: 24 }, 176, None),
        (3, 8) => (Place::Runtime { gil: 1152, head: 32 }, 176, None),
        (3, 9 | 10) => (Place::Runtime { gil: 352, head: 32 }, 176, None),
        (3, 11) => (Place::Runtime { gil: 360, head: 40 }, 152, Some(160)),
        (3, 12) => {
            let fields = GilOffsets::USUAL;
            (Place::Interpreter(InterpreterOffsets { head: 40, id: 8, next: 0, gil: 384, fields }), 136, Some(144))
        }
        _ => return None,
    };
    Some(Offsets { place, thread: ThreadOffsets { thread_id, native } })
}

/// Returns the offset of `thread_id`, a pthread_t, in a PyThreadState of CPython 2.7 or 3.6 to 3.12.
#[cfg(target_env = "gnu")]
pub(crate) fn thread_id((major, minor): (u32, u32)) -> Option<u64> {
    let offsets = by_table(u8::try_from(major).ok()?, u8::try_from(minor).ok()?)?;
    Some(offsets.thread.thread_id)
}

/// Reads the debug offsets of CPython 3.13 to 3.15 at `runtime`, the address of `_PyRuntime`.
///
/// # Errors
/// The inner error is a text with the expected and the found value.
pub(super) fn read_debug_offsets(
    target: &Target,
    runtime: u64,
    minor: u8,
) -> Result<Result<Offsets, String>, RemoteError> {
    let mut bytes = [0; 32 * 8];
    if !target.read(runtime, &mut bytes)? {
        return Ok(Err("expected _PyRuntime to be mapped, found nothing".to_owned()));
    }
    let (words, _) = bytes.as_chunks();
    Ok(parse(&words.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>(), minor))
}

/// Parses the beginning of struct _Py_DebugOffsets.
fn parse(words: &[u64], minor: u8) -> Result<Offsets, String> {
    const COOKIE: u64 = u64::from_le_bytes(*b"xdebugpy");
    // The members whose place depends on the version: ceval_gil and thread_state.thread_id.
    let (ceval_gil, thread_id) = match minor {
        13 => (14, 24),
        14 => (15, 27),
        15 => (15, 30),
        _ => return Err(format!("expected 3.13 to 3.15, found 3.{minor}")),
    };
    if words[0] != COOKIE {
        return Err(format!("expected xdebugpy at the beginning of _PyRuntime, found {:#x}", words[0]));
    }
    // PY_VERSION_HEX.
    if words[1] >> 16 != 0x300 + u64::from(minor) {
        return Err(format!("expected the debug offsets of 3.{minor}, found those of version {:#x}", words[1]));
    }
    let fields = if words[2] == 0 { GilOffsets::USUAL } else { GilOffsets::FREE_THREADED };
    let state = words[ceval_gil + 1];
    let found = [words[ceval_gil + 3], words[ceval_gil + 4]].map(|field| field.wrapping_sub(state));
    if found != [fields.locked, fields.last_holder] {
        return Err(format!(
            "expected locked and last_holder at {} and {} of the GIL, found {} and {}",
            fields.locked, fields.last_holder, found[0], found[1]
        ));
    }
    Ok(Offsets {
        place: Place::Interpreter(InterpreterOffsets {
            head: words[5],
            id: words[7],
            next: words[8],
            gil: words[ceval_gil],
            fields,
        }),
        thread: ThreadOffsets { thread_id: words[thread_id], native: Some(words[thread_id + 1]) },
    })
}
