//! The CPython of this process, called through its public functions. They are looked up at run time, so that this
//! library need not be linked with a libpython.

use super::memory;
use crate::ended_thread;
use crate::refusal::Refusal;
use crate::remote::thread_id_offset;
use libc::c_void;
use std::ffi::{CStr, c_char, c_int};

type Object = *mut c_void;
/// A PyThreadState*.
pub(super) type ThreadState = *mut c_void;

/// The functions of CPython that the meter uses. The calling thread must hold the GIL.
pub(super) struct Python {
    pub(super) version: (u32, u32),
    /// The address of PyEval_SaveThread, which identifies the object to redirect.
    pub(super) save_thread: usize,
    save: unsafe extern "C-unwind" fn() -> ThreadState,
    restore: unsafe extern "C-unwind" fn(ThreadState),
}

/// Returns the address of a function or variable that the program or its libraries export.
pub(super) fn symbol(name: &'static CStr) -> Option<usize> {
    // SAFETY: a lookup by name.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
    (address != 0).then_some(address)
}

/// Looks up a function of CPython by its name. The given type must be the one that Python.h declares.
macro_rules! function {
    ($name:literal, $type:ty) => {
        // SAFETY: the address of the function of that name, whose type is the one that Python.h declares.
        symbol($name).map(|address| unsafe { std::mem::transmute::<usize, $type>(address) })
    };
}

impl Python {
    /// Returns the running CPython, if the calling thread holds its GIL. `may_be_young`: it may still be initialising
    /// itself, but evaluates code already.
    ///
    /// # Errors
    /// There is no CPython, it has no GIL, its version is not metered, or the calling thread does not hold the GIL.
    pub(super) fn held_here(may_be_young: bool) -> Result<Self, Refusal> {
        symbol(c"gnu_get_libc_version").ok_or(Refusal::NotGlibc)?;
        let save_thread = symbol(c"PyEval_SaveThread").ok_or(Refusal::NoPython("PyEval_SaveThread"))?;
        let save = function!(c"PyEval_SaveThread", unsafe extern "C-unwind" fn() -> ThreadState);
        let restore = function!(c"PyEval_RestoreThread", unsafe extern "C-unwind" fn(ThreadState));
        let is_initialized = function!(c"Py_IsInitialized", unsafe extern "C" fn() -> c_int);
        let (Some(save), Some(restore), Some(is_initialized), Some(text)) =
            (save, restore, is_initialized, version_text())
        else {
            return Err(Refusal::NoPython("PyEval_RestoreThread"));
        };
        let version = numbers(&text);
        // SAFETY: Py_IsInitialized may be called at any time.
        if !may_be_young && unsafe { is_initialized() } == 0 && !imports_site(version) {
            return Err(Refusal::NoPython("interpreter that is initialised"));
        }
        if !is_metered(version) {
            return Err(Refusal::Version(version.0, version.1));
        }
        if !holds_gil(version) {
            return Err(Refusal::NotHeld);
        }
        has_gil()?;
        Ok(Self { version, save_thread, save, restore })
    }

    /// Releases the GIL and acquires it again. Returns the thread state that did so.
    pub(super) fn release_and_acquire(&self) -> ThreadState {
        self.without_gil(|| ())
    }

    /// Runs `body` without the GIL. Returns the thread state that released it. If the interpreter is shutting down, it
    /// may not return (see [`ended_thread`]).
    pub(super) fn without_gil(&self, body: impl FnOnce()) -> ThreadState {
        // SAFETY: the calling thread holds the GIL, as was checked, and acquires it again with the thread state that it
        // got.
        unsafe {
            let state = (self.save)();
            body();
            ended_thread::call(self.restore, state);
            state
        }
    }

    /// Creates the GIL if there is none, as threading does: 2.7 creates it with the first thread.
    pub(super) fn create_gil(&self) {
        if let Some(init) = function!(c"PyEval_InitThreads", unsafe extern "C-unwind" fn()) {
            // SAFETY: the calling thread is attached, as was checked.
            unsafe { init() };
        }
    }

    /// Returns the main interpreter's PyInterpreterState, from 3.7 on.
    pub(super) fn main_interpreter(&self) -> Option<usize> {
        let main = function!(c"PyInterpreterState_Main", unsafe extern "C" fn() -> usize)?;
        // SAFETY: it returns a static pointer.
        Some(unsafe { main() })
    }

    /// Returns every interpreter's PyInterpreterState. No other thread may create or end an interpreter in the
    /// meantime.
    pub(super) fn interpreters(&self) -> Vec<usize> {
        let head = function!(c"PyInterpreterState_Head", unsafe extern "C" fn() -> usize);
        let next = function!(c"PyInterpreterState_Next", unsafe extern "C" fn(usize) -> usize);
        let (Some(head), Some(next)) = (head, next) else { return Vec::new() };
        // SAFETY: walks the list that the interpreters form.
        let after = |interpreter: &usize| Some(unsafe { next(*interpreter) }).filter(|next| *next != 0);
        // SAFETY: as above.
        std::iter::successors(Some(unsafe { head() }).filter(|head| *head != 0), after).collect()
    }
}

/// The type of PyInterpreterState_GetID, which reads a field and needs no GIL.
pub(super) type InterpreterId = unsafe extern "C" fn(usize) -> i64;

/// Returns the function that reads an interpreter's id.
pub(super) fn interpreter_id() -> Option<InterpreterId> {
    function!(c"PyInterpreterState_GetID", InterpreterId)
}

/// Registers a function that Py_FinalizeEx calls at its end. CPython has room for 32 of them; if there is none left, the
/// function is not called.
pub(super) fn at_exit(function: unsafe extern "C" fn()) {
    if let Some(register) = function!(c"Py_AtExit", unsafe extern "C" fn(unsafe extern "C" fn()) -> c_int) {
        // SAFETY: it stores a pointer. The function stays mapped, since the library is never unloaded.
        unsafe { register(function) };
    }
}

/// A function that CPython's main thread calls with the GIL (Py_AddPendingCall).
pub type PendingCall = unsafe extern "C" fn(*mut c_void) -> c_int;
/// The type of Py_AddPendingCall.
pub(super) type AddPendingCall = unsafe extern "C" fn(PendingCall, *mut c_void) -> c_int;

/// Returns Py_AddPendingCall.
pub(super) fn add_pending_call() -> Option<AddPendingCall> {
    function!(c"Py_AddPendingCall", AddPendingCall)
}

/// Returns the text of Py_GetVersion, which needs no initialised Python.
pub(super) fn version_text() -> Option<String> {
    let version = function!(c"Py_GetVersion", unsafe extern "C" fn() -> *const c_char)?;
    // SAFETY: it returns a static string.
    let read = || unsafe { CStr::from_ptr(version()) }.to_string_lossy().into_owned();
    // Up to 3.11, each call writes the same text to the same buffer again. While another thread does so, with or without the
    // GIL, the first byte is NUL for a moment.
    let is_whole = |text: &String| text.starts_with(|letter: char| letter.is_ascii_digit());
    Some((0..1000).map(|_| read()).find(is_whole).unwrap_or_default())
}

/// Returns true if the meter knows the GIL of that version.
pub(super) fn is_metered(version: (u32, u32)) -> bool {
    version == (2, 7) || version >= (3, 7)
}

/// Returns true if the calling thread initialises a Python that runs code already: from 3.15 on, Py_IsInitialized returns 0
/// until `site` is imported, and with it sitecustomize (gh-146302).
fn imports_site(version: (u32, u32)) -> bool {
    let is_finalizing = function!(c"Py_IsFinalizing", unsafe extern "C" fn() -> c_int);
    // SAFETY: any thread may call it.
    version >= (3, 15) && is_finalizing.is_some_and(|function| unsafe { function() } == 0) && holds_gil(version)
}

/// Returns true if the calling thread holds the GIL.
fn holds_gil(version: (u32, u32)) -> bool {
    if version < (3, 4) {
        let current = symbol(c"_PyThreadState_Current");
        let own = function!(c"PyGILState_GetThisThreadState", unsafe extern "C" fn() -> ThreadState);
        return current.zip(own).is_some_and(|(current, own)| {
            // SAFETY: the variable is a PyThreadState*, which the holder of the GIL writes; the function reads a
            // thread-local.
            let (current, own) = unsafe { ((current as *const ThreadState).read_volatile(), own()) };
            !current.is_null() && current == own
        });
    }
    let check = function!(c"PyGILState_Check", unsafe extern "C" fn() -> c_int);
    // SAFETY: any thread may call it.
    check.is_some_and(|check| unsafe { check() } != 0) && is_current(version)
}

/// Returns true if the current thread state is the calling thread's, or can't be found out. Once another interpreter was
/// created, PyGILState_Check returns 1 to every thread (`check_enabled`, Python/pystate.c). Up to 3.11, a thread state is
/// that of the thread that created it, which may have created an interpreter for another thread.
fn is_current(version: (u32, u32)) -> bool {
    let get = function!(c"PyThreadState_GetUnchecked", unsafe extern "C" fn() -> ThreadState)
        .or_else(|| function!(c"_PyThreadState_UncheckedGet", unsafe extern "C" fn() -> ThreadState));
    // SAFETY: any thread may call it.
    let Some(current) = get.map(|get| unsafe { get() }) else { return true };
    // From 3.12 on, each thread has its own.
    if version >= (3, 12) || current.is_null() {
        return !current.is_null();
    }
    // SAFETY: any thread may call it.
    let own = unsafe { libc::pthread_self() } as usize;
    // If it is another thread's, it may be freed meanwhile; and the process may not be allowed to read itself.
    thread_id_offset(version)
        .is_none_or(|offset| memory::words::<1>(current as usize + offset as usize).is_none_or(|[id]| id == own))
}

/// Checks that there is a GIL, by calling `sys._is_gil_enabled()` (3.13 on). In builds that are not free-threaded, the
/// function is missing or returns True.
///
/// # Errors
/// [`Refusal::NoGil`], or [`Refusal::NoAnswer`] if the call fails.
fn has_gil() -> Result<(), Refusal> {
    let get = function!(c"PySys_GetObject", unsafe extern "C" fn(*const c_char) -> Object).ok_or(Refusal::NoAnswer)?;
    // SAFETY: the caller holds the GIL; the result is borrowed.
    let is_gil_enabled = unsafe { get(c"_is_gil_enabled".as_ptr()) };
    if is_gil_enabled.is_null() {
        return Ok(());
    }
    let call = function!(c"PyObject_CallObject", unsafe extern "C" fn(Object, Object) -> Object);
    let is_true = function!(c"PyObject_IsTrue", unsafe extern "C" fn(Object) -> c_int);
    let clear = function!(c"PyErr_Clear", unsafe extern "C" fn());
    let drop_reference = function!(c"Py_DecRef", unsafe extern "C" fn(Object));
    let (Some(call), Some(is_true), Some(clear), Some(drop_reference)) = (call, is_true, clear, drop_reference) else {
        return Err(Refusal::NoAnswer);
    };
    // SAFETY: the caller holds the GIL; the reference to `answer` is owned, and is dropped.
    let answer = unsafe {
        let answer = call(is_gil_enabled, std::ptr::null_mut());
        if answer.is_null() {
            clear();
            return Err(Refusal::NoAnswer);
        }
        let is_enabled = is_true(answer);
        drop_reference(answer);
        is_enabled
    };
    if answer == 1 { Ok(()) } else { Err(Refusal::NoGil) }
}

/// Parses the first two numbers of Py_GetVersion(), for example "3.11.7 (main, ...".
pub(super) fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn the_version_is_parsed_from_its_text() {
        assert_eq!(numbers("3.11.7 (main, Nov 1 2026) [GCC 12]"), (3, 11));
        assert_eq!(numbers("3.15.0a1+ free-threading build"), (3, 15));
        assert_eq!(numbers(""), (0, 0));
    }
}
