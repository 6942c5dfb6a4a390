//! Determines which cond or semaphore belongs to the GIL, without symbols or tables: the calling thread releases the
//! GIL once and acquires it again, and the conds or the semaphore that this uses belong to the GIL. Then the
//! surrounding struct is checked.

use super::super::counting::gils::{INTERP, LAST_HOLDER, SWITCH_COND};
use super::super::python::{self, Python, ThreadState, symbol};
use super::super::{memory, thread};
use super::got::Span;
use super::{first_acquire, sets, stack};
use crate::refusal::Refusal;
use libc::c_void;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The conds or semaphores that one release and one acquire of the calibrating thread used, in order.
struct Log {
    save_thread: Span,
    addresses: Vec<usize>,
}

/// The log, which only the calibrating thread reads and writes. OWNER is the identity of that thread, or 0.
static LOG: AtomicPtr<Log> = AtomicPtr::new(null_mut());
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// The result of calibration.
pub(crate) struct Calibration {
    /// The address of the GIL's `cond`, or of its semaphore.
    pub(crate) address: usize,
    /// The interpreter's id.
    pub(crate) interpreter: i64,
    /// The offset, in a PyInterpreterState, of the `cond` of its own GIL, if there may be several.
    pub(crate) to_cond: Option<usize>,
    /// The other interpreters, if they may have their own GILs.
    pub(crate) others: Vec<usize>,
}

/// Finds and checks CPython 3's GIL, while pthread_cond_signal is redirected.
pub(crate) fn conds(python: &Python) -> Result<Calibration, Refusal> {
    let (seen, state) = observe(python);
    let [cond, switch_cond] = seen[..] else {
        return Err(unexpected(&format!("a release and an acquire signalled {} conds, not 2", seen.len())));
    };
    if switch_cond.wrapping_sub(cond) != SWITCH_COND {
        return Err(unexpected("its two conds are not placed as in struct _gil_runtime_state"));
    }
    let around = memory::read::<2>(cond - LAST_HOLDER);
    let around = around.map_err(|error| Refusal::System("process_vm_readv of CPython's GIL", error.to_string()))?;
    match around {
        [holder, locked] if holder == state as usize && locked as u32 == 1 => {}
        [_, locked] if locked as u32 != 1 => {
            return Err(unexpected(&format!("`locked` is {}, not 1, while it is held", locked as u32)));
        }
        _ => return Err(unexpected("`last_holder` is not the thread state that holds it")),
    }
    if python.version < (3, 12) {
        return Ok(Calibration { address: cond, interpreter: 0, to_cond: None, others: Vec::new() });
    }
    let (to_cond, others, interpreter) = interpreters(python, cond, state)?;
    Ok(Calibration { address: cond, interpreter, to_cond: Some(to_cond), others })
}

/// Finds and checks 2.7's GIL, while sem_post, sem_wait and sem_trywait are redirected.
pub(crate) fn semaphores(python: &Python) -> Result<Calibration, Refusal> {
    let (mut seen, _) = observe(python);
    if seen.is_empty() {
        python.create_gil();
        seen = observe(python).0;
    }
    match seen[..] {
        [posted, waited] if posted == waited => {
            Ok(Calibration { address: posted, interpreter: 0, to_cond: None, others: Vec::new() })
        }
        _ => Err(unexpected(&format!("a release and an acquire used semaphores {} times, not one twice", seen.len()))),
    }
}

/// Releases the GIL and acquires it again. Returns the log, and the thread state.
fn observe(python: &Python) -> (Vec<usize>, ThreadState) {
    let save_thread = Span::new(python.save_thread, size_of_symbol(python.save_thread).unwrap_or(0));
    let mut log = Log { save_thread, addresses: Vec::with_capacity(16) };
    LOG.store(&raw mut log, Ordering::Release);
    OWNER.store(thread::identity(), Ordering::Release);
    let state = stack::scrubbed(|| python.release_and_acquire());
    OWNER.store(0, Ordering::Release);
    LOG.store(null_mut(), Ordering::Release);
    (log.addresses, state)
}

/// Returns the offset of the GIL's cond in its interpreter's state, the other interpreters, and the id of this
/// interpreter. From 3.12 on, every interpreter has its own GIL at the same offset, unless it uses the GIL of the main
/// interpreter.
fn interpreters(python: &Python, cond: usize, state: ThreadState) -> Result<(usize, Vec<usize>, i64), Refusal> {
    const LARGEST_STATE: usize = 1 << 20;
    let own = memory::words::<1>(state as usize + INTERP).map(|[own]| own);
    let candidates = [own, python.main_interpreter()].into_iter().flatten();
    let interpreter = candidates.into_iter().find(|state| (1..LARGEST_STATE).contains(&cond.wrapping_sub(*state)));
    let interpreter = interpreter.ok_or_else(|| unexpected("it is not inside its interpreter's state"))?;
    let all = python.interpreters();
    if !own.is_some_and(|own| all.contains(&own)) {
        return Err(unexpected("its holder's thread state does not refer to an interpreter"));
    }
    let id = python::interpreter_id().ok_or(Refusal::NoPython("PyInterpreterState_GetID"))?;
    // SAFETY: the interpreter of the GIL that the calling thread holds.
    let id = unsafe { id(interpreter) };
    Ok((cond - interpreter, all.into_iter().filter(|other| *other != interpreter).collect(), id))
}

/// Ends a calibration that a fork has interrupted: the calibrating thread does not exist in the child.
pub(crate) fn end_cut_off_calibration() {
    OWNER.store(0, Ordering::Release);
    LOG.store(null_mut(), Ordering::Release);
}

fn unexpected(what: &str) -> Refusal {
    Refusal::Unexpected(what.into())
}

/// Returns the size of the function at `address`, by dladdr1(3).
fn size_of_symbol(address: usize) -> Option<usize> {
    const RTLD_DL_SYMENT: c_int = 1;
    type DlAddr1 = unsafe extern "C" fn(usize, *mut libc::Dl_info, *mut *const libc::Elf64_Sym, c_int) -> c_int;
    // SAFETY: the function has the type that dlfcn.h declares, and writes only through the two pointers.
    unsafe {
        let dladdr1 = std::mem::transmute::<usize, DlAddr1>(symbol(c"dladdr1")?);
        let mut info = std::mem::zeroed();
        let mut entry = std::ptr::null();
        let found = dladdr1(address, &raw mut info, &raw mut entry, RTLD_DL_SYMENT) != 0;
        (found && !entry.is_null()).then(|| (*entry).st_size as usize)
    }
}

/// Logs `address` if the caller is the calibrating thread, and the hook that was called is of the set in use. `stack` is
/// the stack pointer if the call is a release.
#[cold]
pub(super) fn note(set: usize, address: *mut c_void, stack: Option<*const usize>) {
    first_acquire::signalled(address as usize);
    if OWNER.load(Ordering::Acquire) != thread::identity() || !sets::is_latest(set) {
        return;
    }
    // SAFETY: the calibrating thread's own log, which is alive while OWNER is set.
    let log = unsafe { &mut *LOG.load(Ordering::Acquire) };
    if let Some(stack) = stack.filter(|_| log.addresses.is_empty()) {
        // SAFETY: the stack pointer at the hook's entry.
        unsafe { stack::learn(stack, &log.save_thread) };
    }
    if log.addresses.len() < log.addresses.capacity() {
        log.addresses.push(address as usize);
    }
}
