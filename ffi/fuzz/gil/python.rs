//! The CPython of the fuzzed process: a shared libpython, opened at run time like the Python of a program that embeds one.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

/// The environment variable with the path of the libpython. If it is not set, the process has no Python.
const LIBPYTHON: &str = "BUSY_FUZZ_LIBPYTHON";

/// A PyThreadState*.
type ThreadState = *mut c_void;
/// A PyInterpreterState*.
type Interpreter = *mut c_void;

/// PyStatus of Python.h.
#[repr(C)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

/// An interpreter and its GIL.
struct Owner {
    interpreter: Interpreter,
    id: i64,
}

/// The initialised Python. No thread is attached to it between two inputs.
pub struct Python {
    new: unsafe extern "C" fn(Interpreter) -> ThreadState,
    clear: unsafe extern "C" fn(ThreadState),
    delete_current: unsafe extern "C" fn(),
    save: unsafe extern "C" fn() -> ThreadState,
    restore: unsafe extern "C" fn(ThreadState),
    run: unsafe extern "C" fn(*const c_char, *const c_void) -> c_int,
    /// The main interpreter and, from CPython 3.12 on, one with a GIL of its own.
    owners: Vec<Owner>,
    /// The thread that has initialised Python, and its thread state. Only a thread without one may create another for the
    /// main interpreter: up to CPython 3.11, PyGILState_Check() knows only the first one of a thread.
    main: (ThreadId, ThreadState),
}

// SAFETY: the pointers are those of interpreters that never end, and of a state that only its own thread uses. Any thread
// may create a thread state for the interpreters.
unsafe impl Send for Python {}
// SAFETY: as above.
unsafe impl Sync for Python {}

/// Looks up a function of CPython by its name. The given type must be the one that Python.h declares.
macro_rules! function {
    ($library:expr, $name:literal, $type:ty) => {{
        // SAFETY: a lookup by name in an open library.
        let address = unsafe { libc::dlsym($library, $name.as_ptr()) };
        // SAFETY: the address of the function of that name, whose type is the one that Python.h declares.
        (!address.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, $type>(address) })
    }};
}

/// Returns the Python of this process, which the first call initialises.
pub fn python() -> Option<&'static Python> {
    static PYTHON: OnceLock<Option<Python>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let path = env::var(LIBPYTHON).ok().filter(|path| !path.is_empty());
            if path.is_none() {
                eprintln!("note: no Python, since {LIBPYTHON} is not set; the meter refuses each start");
            }
            path.map(|path| Python::initialised(&path))
        })
        .as_ref()
}

impl Python {
    fn initialised(path: &str) -> Self {
        // SAFETY: no other thread uses the environment yet. With malloc(3), AddressSanitizer sees Python's memory.
        unsafe { env::set_var("PYTHONMALLOC", "malloc") };
        let name = CString::new(path).unwrap();
        // SAFETY: the name is terminated. A libpython may be loaded at any time.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!library.is_null(), "{path} cannot be opened");
        let initialize = function!(library, c"Py_InitializeEx", unsafe extern "C" fn(c_int)).unwrap();
        let main = function!(library, c"PyInterpreterState_Main", unsafe extern "C" fn() -> Interpreter).unwrap();
        let mut python = Self {
            new: function!(library, c"PyThreadState_New", _).unwrap(),
            clear: function!(library, c"PyThreadState_Clear", _).unwrap(),
            delete_current: function!(library, c"PyThreadState_DeleteCurrent", _).unwrap(),
            save: function!(library, c"PyEval_SaveThread", _).unwrap(),
            restore: function!(library, c"PyEval_RestoreThread", _).unwrap(),
            run: function!(library, c"PyRun_SimpleStringFlags", _).unwrap(),
            owners: Vec::new(),
            main: (thread::current().id(), null_mut()),
        };
        // SAFETY: this thread initialises Python once, and is then attached to the main interpreter.
        unsafe {
            initialize(0);
            python.owners.push(Owner { interpreter: main(), id: 0 });
        }
        python.prepare();
        python.owners.extend(python.own_gil(library));
        // SAFETY: this thread is attached.
        python.main.1 = unsafe { (python.save)() };
        python
    }

    /// Makes threads request the GIL after 10 us, so that drops on request happen in short sequences.
    fn prepare(&self) {
        self.evaluate(c"import sys; sys.setswitchinterval(1e-5)");
    }

    /// Creates an interpreter with a GIL of its own, if this CPython can. The calling thread remains attached to the main
    /// one.
    fn own_gil(&self, library: *mut c_void) -> Option<Owner> {
        /// PyInterpreterConfig of Python.h, with PyInterpreterConfig_OWN_GIL: no shared memory allocator, no fork, no
        /// exec, threads, no daemon threads, a check of extension modules.
        const CONFIG: [c_int; 7] = [0, 0, 0, 1, 0, 1, 2];
        type NewInterpreter = unsafe extern "C" fn(*mut ThreadState, *const c_int) -> Status;
        let create = function!(library, c"Py_NewInterpreterFromConfig", NewInterpreter)?;
        let get =
            function!(library, c"PyThreadState_GetInterpreter", unsafe extern "C" fn(ThreadState) -> Interpreter)?;
        let id = function!(library, c"PyInterpreterState_GetID", unsafe extern "C" fn(Interpreter) -> i64)?;
        let current = function!(library, c"PyThreadState_Get", unsafe extern "C" fn() -> ThreadState)?;
        // SAFETY: this thread is attached to the main interpreter, and then to the new one until `save`.
        unsafe {
            let (main, mut state) = (current(), null_mut());
            let status = create(&mut state, CONFIG.as_ptr());
            assert!(status.kind == 0 && !state.is_null(), "an interpreter with its own GIL cannot be created");
            self.prepare();
            let interpreter = get(state);
            (self.save)();
            (self.restore)(main);
            Some(Owner { interpreter, id: id(interpreter) })
        }
    }

    /// Runs `code` in the calling thread, which holds a GIL.
    fn evaluate(&self, code: &CStr) {
        // SAFETY: the thread holds the GIL of its interpreter, and the code is terminated.
        assert_eq!(unsafe { (self.run)(code.as_ptr(), null()) }, 0, "{code:?}");
    }

    /// Returns the number of GILs.
    pub fn gils(&self) -> usize {
        self.owners.len()
    }

    /// Returns whether the calling thread has a thread state for that GIL, which is never deleted.
    fn is_main(&self, gil: usize) -> bool {
        gil == 0 && thread::current().id() == self.main.0
    }

    /// Returns the id of the interpreter that owns the GIL with that number.
    pub fn interpreter(&self, gil: usize) -> i64 {
        self.owners[gil].id
    }
}

/// The GIL that a thread holds.
pub struct Holder {
    python: Option<&'static Python>,
    held: Option<(usize, ThreadState)>,
    /// The number of times that this thread has acquired each GIL, and released it.
    pub acquired: [u64; 2],
    pub released: [u64; 2],
}

impl Holder {
    pub fn new() -> Self {
        Self { python: python(), held: None, acquired: [0; 2], released: [0; 2] }
    }

    /// Returns the number of the held GIL: 0 for that of the main interpreter.
    pub fn held(&self) -> Option<usize> {
        self.held.map(|(gil, _)| gil)
    }

    /// Acquires the GIL with that number, or the main one if there is no other. Does nothing if the thread holds a GIL,
    /// or without Python.
    pub fn acquire(&mut self, gil: usize) {
        let Some(python) = self.python.filter(|_| self.held.is_none()) else { return };
        let gil = gil.min(python.gils() - 1);
        // SAFETY: the interpreter never ends, and this thread is attached to none. The state is the thread's own.
        unsafe {
            let state = if python.is_main(gil) { python.main.1 } else { (python.new)(python.owners[gil].interpreter) };
            (python.restore)(state);
            self.held = Some((gil, state));
        }
        self.acquired[gil] += 1;
    }

    /// Releases the GIL that the thread holds.
    pub fn release(&mut self) {
        let Some((python, (gil, state))) = self.python.zip(self.held.take()) else { return };
        // SAFETY: the calling thread is attached by this state, which nothing else uses.
        unsafe {
            if python.is_main(gil) {
                (python.save)();
            } else {
                (python.clear)(state);
                (python.delete_current)();
            }
        }
        self.released[gil] += 1;
    }

    /// Releases the GIL and acquires it again, as Py_BEGIN_ALLOW_THREADS and Py_END_ALLOW_THREADS do.
    pub fn allow_threads(&mut self) {
        let Some((python, (gil, _))) = self.python.zip(self.held) else { return };
        // SAFETY: the calling thread is attached, and uses the state that it gets.
        unsafe { (python.restore)((python.save)()) };
        self.released[gil] += 1;
        self.acquired[gil] += 1;
    }

    /// Executes some bytecode, during which another thread may request the GIL.
    pub fn run_code(&self) {
        if let Some((python, _)) = self.python.zip(self.held) {
            python.evaluate(c"for _ in range(2000): pass");
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.release();
    }
}
