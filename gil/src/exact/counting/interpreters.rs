//! Which interpreters exist. CPython does not destroy an interpreter's own GIL when the interpreter ends: it frees the
//! memory (`finalize_interp_delete`, Python/pylifecycle.c). So the end is learnt from the list of interpreters, which is
//! read without its lock: a read of freed memory must not fault, and the list counts only if it ends as it should.

use super::super::memory;
use super::super::python::symbol;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// PyInterpreterState_Head and PyInterpreterState_Main read a variable; PyInterpreterState_Next reads a field.
type Head = unsafe extern "C" fn() -> usize;
type Next = unsafe extern "C" fn(usize) -> usize;

/// The list of the interpreters of this process, each by the address of its PyInterpreterState.
pub(super) struct Interpreters {
    /// The address of PyInterpreterState_Head, or 0.
    head: AtomicUsize,
    /// The address of PyInterpreterState_Next, or 0.
    next: AtomicUsize,
    /// The main interpreter, which is the last one on the list.
    main: AtomicUsize,
    /// The offset of the field `next`, in words, plus 1; 0 if it is not known yet.
    place: AtomicUsize,
}

impl Interpreters {
    pub(super) const fn new() -> Self {
        let [head, next, main, place] = [const { AtomicUsize::new(0) }; 4];
        Self { head, next, main, place }
    }

    /// Looks up the functions. The calling thread holds a GIL.
    pub(super) fn find(&self) {
        let [head, next, main] = [c"PyInterpreterState_Head", c"PyInterpreterState_Next", c"PyInterpreterState_Main"]
            .map(|name| symbol(name).unwrap_or(0));
        if head != 0 && next != 0 && main != 0 {
            // SAFETY: the function of that name, which reads a variable.
            self.main.store(unsafe { std::mem::transmute::<usize, Head>(main)() }, Relaxed);
            self.head.store(head, Relaxed);
            self.next.store(next, Relaxed);
        }
    }

    /// Learns the place of the field `next` from `interpreter`, which is alive, unless it is known.
    pub(super) fn learn(&self, interpreter: usize) {
        let (next, main) = (self.next.load(Relaxed), self.main.load(Relaxed));
        if next == 0 || self.place.load(Relaxed) != 0 || interpreter == main {
            return;
        }
        // SAFETY: the function of that name, which reads a field of an interpreter that is alive.
        let successor = unsafe { std::mem::transmute::<usize, Next>(next)(interpreter) };
        if successor == 0 {
            return;
        }
        // The same field of the main interpreter is NULL.
        const WORDS: usize = 32;
        const LARGEST: usize = 4096;
        for start in (0..LARGEST).step_by(WORDS) {
            let [own, last] = [interpreter, main].map(|one| memory::words::<WORDS>(one + start * size_of::<usize>()));
            let Some((own, last)) = own.zip(last) else { return };
            if let Some(place) = (0..WORDS).find(|place| own[*place] == successor && last[*place] == 0) {
                return self.place.store(start + place + 1, Relaxed);
            }
        }
    }

    /// Returns the interpreters, or `None` if they are unknown. An interpreter that begins or ends meanwhile may be
    /// missing.
    pub(super) fn living(&self) -> Option<Vec<usize>> {
        const MOST: usize = 1 << 16;
        let (head, place) = (self.head.load(Relaxed), self.place.load(Relaxed).checked_sub(1)?);
        // SAFETY: the function of that name, which reads a variable.
        let mut interpreter = unsafe { std::mem::transmute::<usize, Head>(head)() };
        let mut found = Vec::new();
        while interpreter != 0 && found.len() < MOST {
            found.push(interpreter);
            [interpreter] = memory::words::<1>(interpreter + place * size_of::<usize>())?;
        }
        (found.last() == Some(&self.main.load(Relaxed))).then_some(found)
    }

    /// Makes these the functions, for a test.
    #[cfg(test)]
    pub(super) fn set(&self, head: Head, next: Next, main: usize) {
        self.head.store(head as usize, Relaxed);
        self.next.store(next as usize, Relaxed);
        self.main.store(main, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three interpreters, whose sixth word is `next`; the first word refers to the interpreter itself.
    static STATES: [[AtomicUsize; 4096]; 3] = [const { [const { AtomicUsize::new(0) }; 4096] }; 3];
    static HEAD: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn head() -> usize {
        HEAD.load(Relaxed)
    }

    unsafe extern "C" fn next(interpreter: usize) -> usize {
        // SAFETY: one of the states.
        unsafe { (interpreter as *const usize).add(5).read() }
    }

    #[test]
    fn the_list_is_read_once_the_place_of_its_links_is_known() {
        let [newest, middle, main] = [0, 1, 2].map(|index| STATES[index].as_ptr() as usize);
        for (index, next) in [(0, middle), (1, main), (2, 0)] {
            STATES[index][0].store(STATES[index].as_ptr() as usize, Relaxed);
            STATES[index][5].store(next, Relaxed);
        }
        HEAD.store(newest, Relaxed);
        let interpreters = Interpreters::new();
        assert_eq!(interpreters.living(), None);
        interpreters.set(head, next, main);
        interpreters.learn(main);
        assert_eq!(interpreters.living(), None, "the main interpreter has no successor to learn from");
        interpreters.learn(newest);
        assert_eq!(interpreters.living(), Some(vec![newest, middle, main]));
        HEAD.store(middle, Relaxed);
        assert_eq!(interpreters.living(), Some(vec![middle, main]));
        // A link into freed memory.
        STATES[1][5].store(8, Relaxed);
        assert_eq!(interpreters.living(), None);
        STATES[1][5].store(0, Relaxed);
        assert_eq!(interpreters.living(), None, "the list does not end with the main interpreter");
    }
}
