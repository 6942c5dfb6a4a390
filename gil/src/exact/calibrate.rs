//! Which cond, or semaphore, is the GIL's? Learnt without symbols or tables: the calling thread gives the GIL up once and
//! takes it again, and what it signals meanwhile is it. Then the struct around is held against what must stand there.

use super::got::Span;
use super::hooks::{self, Signal};
use super::python::{Python, ThreadState, symbol};
use super::semaphore::{self, OnSemaphore};
use super::{gils, memory, python, stack, thread};
use crate::Refusal;
use libc::c_void;
use std::arch::naked_asm;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What one release and acquire of the calibrating thread did: conds or semaphores, in order.
struct Log {
    save_thread: Span,
    addresses: Vec<usize>,
}

/// Written and read by the calibrating thread alone, which others are told from by OWNER.
static LOG: AtomicPtr<Log> = AtomicPtr::new(null_mut());
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// What was learnt.
pub(super) struct Calibration {
    /// Of the GIL's `cond`, or of its semaphore.
    pub(super) address: usize,
    /// The interpreter's id.
    pub(super) interpreter: i64,
    /// From a PyInterpreterState to the cond of its own GIL, where there may be several.
    pub(super) to_cond: Option<usize>,
    /// The other interpreters, where they may have GILs of their own.
    pub(super) others: Vec<usize>,
}

/// Learns and checks CPython 3's GIL, while pthread_cond_signal is redirected to [`signal`].
pub(super) fn conds(python: &Python) -> Result<Calibration, Refusal> {
    let (seen, state) = observe(python);
    let [cond, switch_cond] = seen[..] else {
        return Err(unexpected(&format!("a release and an acquire signalled {} conds, not 2", seen.len())));
    };
    if switch_cond.wrapping_sub(cond) != gils::SWITCH_COND {
        return Err(unexpected("its two conds do not lie as they do in struct _gil_runtime_state"));
    }
    let around = memory::words::<2>(cond - gils::LAST_HOLDER);
    match around {
        Some([holder, locked]) if holder == state as usize && locked as u32 == 1 => {}
        Some([_, locked]) if locked as u32 != 1 => {
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

/// Learns and checks 2.7's GIL, while sem_post, sem_wait and sem_trywait are redirected to the functions below.
pub(super) fn semaphores(python: &Python) -> Result<Calibration, Refusal> {
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

/// Since 3.12 a GIL lies in its interpreter's state, always at the same place, unless that uses the main one's.
fn interpreters(python: &Python, cond: usize, state: ThreadState) -> Result<(usize, Vec<usize>, i64), Refusal> {
    const LARGEST_STATE: usize = 1 << 20;
    let own = memory::words::<1>(state as usize + gils::INTERP).map(|[own]| own);
    let candidates = [own, python.main_interpreter()].into_iter().flatten();
    let interpreter = candidates.into_iter().find(|state| (1..LARGEST_STATE).contains(&cond.wrapping_sub(*state)));
    let interpreter = interpreter.ok_or_else(|| unexpected("it does not lie in its interpreter's state"))?;
    let all = python.interpreters();
    if !own.is_some_and(|own| all.contains(&own)) {
        return Err(unexpected("its holder's thread state does not name an interpreter"));
    }
    let id = python::interpreter_id().ok_or(Refusal::NoPython("PyInterpreterState_GetID"))?;
    // SAFETY: the interpreter of the GIL that the calling thread holds.
    let id = unsafe { id(interpreter) };
    Ok((cond - interpreter, all.into_iter().filter(|other| *other != interpreter).collect(), id))
}

fn unexpected(what: &str) -> Refusal {
    Refusal::Unexpected(what.into())
}

/// The size of the function at `address`, by dladdr1(3).
fn size_of_symbol(address: usize) -> Option<usize> {
    const RTLD_DL_SYMENT: c_int = 1;
    type DlAddr1 = unsafe extern "C" fn(usize, *mut libc::Dl_info, *mut *const libc::Elf64_Sym, c_int) -> c_int;
    // SAFETY: the function's type, as dlfcn.h has it; it writes to both places.
    unsafe {
        let dladdr1 = std::mem::transmute::<usize, DlAddr1>(symbol(c"dladdr1")?);
        let mut info = std::mem::zeroed();
        let mut entry = std::ptr::null();
        let found = dladdr1(address, &raw mut info, &raw mut entry, RTLD_DL_SYMENT) != 0;
        (found && !entry.is_null()).then(|| (*entry).st_size as usize)
    }
}

/// Logs `address` if the calibrating thread called. `stack`: where a release's return address stands.
fn note(address: *mut c_void, stack: Option<*const usize>) {
    if OWNER.load(Ordering::Acquire) != thread::identity() {
        return;
    }
    // SAFETY: the calibrating thread's own, alive while OWNER is set.
    let log = unsafe { &mut *LOG.load(Ordering::Acquire) };
    if let Some(stack) = stack.filter(|_| log.addresses.is_empty()) {
        // SAFETY: the stack pointer at the hook's entry.
        unsafe { stack::learn(stack, &log.save_thread) };
    }
    if log.addresses.len() < log.addresses.capacity() {
        log.addresses.push(address as usize);
    }
}

/// pthread_cond_signal while calibrating.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn signal() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {note}", note = sym note_signal);
}

unsafe extern "C-unwind" fn note_signal(cond: *mut c_void, stack: *const usize) -> c_int {
    note(cond, Some(stack));
    // SAFETY: resolved before anything was redirected; the argument is the caller's.
    unsafe { std::mem::transmute::<usize, Signal>(hooks::REAL_SIGNAL.load(Ordering::Relaxed))(cond) }
}

/// sem_post while calibrating.
#[unsafe(naked)]
pub(super) unsafe extern "C-unwind" fn post() {
    naked_asm!("endbr64", "mov rsi, rsp", "jmp {note}", note = sym note_post);
}

unsafe extern "C-unwind" fn note_post(semaphore: *mut c_void, stack: *const usize) -> c_int {
    note(semaphore, Some(stack));
    pass(&semaphore::REAL_POST, semaphore)
}

/// sem_wait while calibrating.
pub(super) unsafe extern "C-unwind" fn wait(semaphore: *mut c_void) -> c_int {
    let result = pass(&semaphore::REAL_WAIT, semaphore);
    // Interrupted by a signal, it is called again.
    if result == 0 {
        note(semaphore, None);
    }
    result
}

/// sem_trywait while calibrating.
pub(super) unsafe extern "C-unwind" fn trywait(semaphore: *mut c_void) -> c_int {
    let result = pass(&semaphore::REAL_TRYWAIT, semaphore);
    if result == 0 {
        note(semaphore, None);
    }
    result
}

fn pass(function: &AtomicUsize, semaphore: *mut c_void) -> c_int {
    // SAFETY: as in `note_signal`.
    unsafe { std::mem::transmute::<usize, OnSemaphore>(function.load(Ordering::Relaxed))(semaphore) }
}
