//! The meter of a process that `busy record` records: its events go to a log, and busy_gil_start() joins it. No header
//! declares the function below; its only caller is the library of the same release that the command preloads (`record/`).

use crate::gil::busy_gil_start;
use crate::gil_copy::OtherCopy;
use crate::gil_state::STATE;
use busy_gil::log::{Writer, mark_executed};
use busy_gil::{Meter, on_python};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::OnceLock;

static LOG: Writer = Writer::new();
/// Not in `STATE`, so no busy_gil_stop() can end it: the recording ends with the process.
static METER: OnceLock<Meter> = OnceLock::new();

/// Opens the log of this process in `folder`, and makes its Python start the meter as soon as it evaluates code. Does
/// nothing if the process has no Python. The caller is the only thread, before the program's main function.
///
/// # Safety
/// `folder` is a path that ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn busy_record_begin(folder: *const c_char) {
    // SAFETY: as the caller promises.
    let folder = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(folder) }.to_bytes()));
    _ = catch_unwind(|| begin(folder));
}

fn begin(folder: &Path) {
    // Two installations, of which one records the other, preload a library each, and both call this function.
    if LOG.is_open() {
        return;
    }
    // If this program was executed by a recorded process, that one's log ends here.
    _ = mark_executed(folder);
    let arrival = on_python(start);
    if matches!(arrival, Ok(None)) {
        return;
    }
    let version = arrival.as_ref().ok().and_then(|version| version.as_deref()).unwrap_or_default();
    if LOG.open(folder, version).is_err() {
        // The recorder finds a Python without a log (src/command/recording/unrecorded.rs).
        return;
    }
    // SAFETY: the function stays mapped, since libbusy is never unmapped (see build.rs).
    unsafe { libc::atexit(finished) };
    if let Err(refusal) = arrival {
        LOG.refuse(&refusal);
    }
}

extern "C" fn finished() {
    _ = catch_unwind(|| {
        if let Some(disturbance) = METER.get().and_then(Meter::disturbance) {
            LOG.doubt(&disturbance.into());
        }
        LOG.finish();
    });
}

/// Starts the meter. CPython's main thread calls it, with the GIL, when it first evaluates code.
unsafe extern "C" fn start(_: *mut c_void) -> c_int {
    _ = catch_unwind(|| {
        LOG.leave_parents();
        if !LOG.is_open() {
            return;
        }
        let is_copy = |address| OtherCopy::at(address, busy_gil_start as *const () as usize).is_some();
        match Meter::start_with_sink(&is_copy, &LOG) {
            Ok(meter) => {
                _ = METER.set(meter);
                STATE.lock().is_recording = true;
            }
            Err(refusal) => LOG.refuse(&refusal),
        }
    });
    0
}
