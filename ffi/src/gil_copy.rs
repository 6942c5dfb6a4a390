//! Another copy of this library in the same process, found by a function of it.
//!
//! A process may load several copies: the library of a program and the one beside a Python module, or two releases. Each
//! has its own accounts. Only one of them meters, and the others forward the calls of their users to it.

use crate::abi::{BUSY_ABI_MAJOR, BUSY_ABI_MINOR};
use crate::status::busy_status;
use std::ffi::{CStr, c_char, c_void};

/// The environment variable that names the libbusy which `busy record` loads into a program
/// (src/command/recording/environment.rs).
const RECORDING: &str = "BUSY_RECORD_LIBBUSY";

/// The functions of another copy with the same ABI. Libbusy is never unmapped (see build.rs), so they stay valid.
#[derive(Clone, Copy)]
pub(crate) struct OtherCopy {
    pub(crate) start: extern "C" fn() -> busy_status,
    pub(crate) stop: extern "C" fn() -> busy_status,
    pub(crate) snapshot: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, *mut usize) -> busy_status,
    pub(crate) window_open: unsafe extern "C" fn(*mut u32) -> busy_status,
    pub(crate) window_close: extern "C" fn(u32) -> busy_status,
    pub(crate) own_thread: unsafe extern "C" fn(*mut c_void) -> busy_status,
    pub(crate) histograms_keep: extern "C" fn() -> busy_status,
    pub(crate) histograms_read: unsafe extern "C" fn(*mut c_void) -> busy_status,
    pub(crate) counters_read: unsafe extern "C" fn(*mut c_void) -> busy_status,
    pub(crate) stalls_open: unsafe extern "C" fn(u64, *mut *mut c_void) -> busy_status,
    pub(crate) stalls_next: StallsNext,
    pub(crate) stalls_stop: unsafe extern "C" fn(*mut c_void) -> busy_status,
    pub(crate) stalls_close: unsafe extern "C" fn(*mut c_void) -> busy_status,
    reason: unsafe extern "C" fn(*mut c_char, usize) -> usize,
}

type StallsNext = unsafe extern "C" fn(*mut c_void, u64, *mut c_void, *mut c_char, usize) -> busy_status;

impl OtherCopy {
    /// Returns the copy whose code contains `address`, or None if that code does not belong to another copy. `own` is the
    /// address of this copy's busy_gil_start().
    ///
    /// # Errors
    /// Its ABI is another one: the reason, for people.
    pub(crate) fn at(address: usize, own: usize) -> Option<Result<Self, String>> {
        let object = Loaded::at(address)?;
        let start = object.function(c"busy_gil_start")?;
        if start == own {
            return None;
        }
        Some(object.copy(start).ok_or_else(|| {
            let is_recorded = std::env::var_os(RECORDING).is_some_and(|libbusy| *libbusy == *object.name());
            let remedy =
                if is_recorded { "run the program without `busy record`" } else { "stop the other meter first" };
            let found = object.abi().map_or("an unknown ABI".into(), |(major, minor)| format!("ABI {major}.{minor}"));
            format!(
                "{} already meters this process. It has {found}, and this copy of libbusy, {}, has ABI \
                 {BUSY_ABI_MAJOR}.{BUSY_ABI_MINOR}: install the same release of busy for both, or {remedy}",
                object.name(),
                Loaded::at(own).map_or_else(String::new, |own| own.name())
            )
        }))
    }

    /// Returns the text of its latest refusal.
    pub(crate) fn reason(&self) -> String {
        // SAFETY: nothing is written if the capacity is 0.
        let mut text = vec![0u8; unsafe { (self.reason)(std::ptr::null_mut(), 0) } + 1];
        // SAFETY: the buffer has space for its length.
        unsafe { (self.reason)(text.as_mut_ptr().cast(), text.len()) };
        CStr::from_bytes_until_nul(&text).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// A loaded object, as dladdr(3) describes it.
struct Loaded(libc::Dl_info);

impl Loaded {
    fn at(address: usize) -> Option<Self> {
        // SAFETY: dladdr(3) writes only to the struct.
        unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            (libc::dladdr(address as *const c_void, &raw mut info) != 0 && !info.dli_fname.is_null())
                .then_some(Self(info))
        }
    }

    fn name(&self) -> String {
        // SAFETY: the text belongs to the object, whose code is in use.
        unsafe { CStr::from_ptr(self.0.dli_fname) }.to_string_lossy().into_owned()
    }

    /// Returns the address of a function that this object itself exports.
    fn function(&self, name: &CStr) -> Option<usize> {
        // SAFETY: RTLD_NOLOAD loads nothing, so no initialiser runs. The name NULL is that of the program, which has no
        // file name that dlopen(3) would find.
        let address = unsafe {
            let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
            let mut object = libc::dlopen(self.0.dli_fname, flags);
            if object.is_null() {
                object = libc::dlopen(std::ptr::null(), flags);
            }
            let address = libc::dlsym(object, name.as_ptr());
            libc::dlclose(object);
            address as usize
        };
        let is_inside = Self::at(address).is_some_and(|object| object.0.dli_fbase == self.0.dli_fbase);
        (address != 0 && is_inside).then_some(address)
    }

    fn abi(&self) -> Option<(u32, u32)> {
        let function = self.function(c"busy_abi_version")?;
        // SAFETY: busy_abi_version has had this type in every version of the header, and only returns a number.
        let version = unsafe { std::mem::transmute::<usize, extern "C" fn() -> u32>(function)() };
        Some((version >> 16, version & 0xffff))
    }

    /// Returns the functions if the ABI is that of this library.
    fn copy(&self, start: usize) -> Option<OtherCopy> {
        if self.abi()? != (BUSY_ABI_MAJOR, BUSY_ABI_MINOR) {
            return None;
        }
        let [stop, snapshot, open, close, own, keep, read, counters, stalls, next, stop_stalls, close_stalls, reason] =
            [
                c"busy_gil_stop",
                c"busy_gil_snapshot",
                c"busy_gil_window_open",
                c"busy_gil_window_close",
                c"busy_gil_own_thread",
                c"busy_gil_histograms_keep",
                c"busy_gil_histograms_read",
                c"busy_gil_counters_read",
                c"busy_gil_stalls_open",
                c"busy_gil_stalls_next",
                c"busy_gil_stalls_stop",
                c"busy_gil_stalls_close",
                c"busy_gil_reason",
            ]
            .map(|name| self.function(name));
        // SAFETY: in this version of the ABI, the functions have the types of these fields.
        unsafe {
            Some(OtherCopy {
                start: std::mem::transmute::<usize, extern "C" fn() -> busy_status>(start),
                stop: std::mem::transmute::<usize, extern "C" fn() -> busy_status>(stop?),
                snapshot: std::mem::transmute::<
                    usize,
                    unsafe extern "C" fn(*mut c_void, *mut c_void, usize, *mut usize) -> busy_status,
                >(snapshot?),
                window_open: std::mem::transmute::<usize, unsafe extern "C" fn(*mut u32) -> busy_status>(open?),
                window_close: std::mem::transmute::<usize, extern "C" fn(u32) -> busy_status>(close?),
                own_thread: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> busy_status>(own?),
                histograms_keep: std::mem::transmute::<usize, extern "C" fn() -> busy_status>(keep?),
                histograms_read: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> busy_status>(read?),
                counters_read: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> busy_status>(
                    counters?,
                ),
                stalls_open: std::mem::transmute::<usize, unsafe extern "C" fn(u64, *mut *mut c_void) -> busy_status>(
                    stalls?,
                ),
                stalls_next: std::mem::transmute::<usize, StallsNext>(next?),
                stalls_stop: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> busy_status>(
                    stop_stalls?,
                ),
                stalls_close: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void) -> busy_status>(
                    close_stalls?,
                ),
                reason: std::mem::transmute::<usize, unsafe extern "C" fn(*mut c_char, usize) -> usize>(reason?),
            })
        }
    }
}
