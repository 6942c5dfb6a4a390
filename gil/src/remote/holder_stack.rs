//! The Python stack of the thread that holds the GIL, at one moment.

use super::remote_gil::RemoteGil;
use super::sample::{Holder, Sample};
use super::stack::{Stack, StackReader};

/// The thread that held the GIL when the states of the threads were read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HolderStack {
    /// The thread's id.
    pub tid: u32,
    /// Its Python stack. `None` if none could be read, mostly because the thread released the GIL meanwhile.
    pub stack: Option<Stack>,
    /// The number of threads that waited for the GIL.
    pub waiting: usize,
    /// The time for which this reading stands, in nanoseconds: from the reading before it, less the unobserved time.
    pub for_ns: u64,
}

/// Reads the stack of the holder in `sample`, which was taken a moment ago. The stack counts only if the same thread holds the
/// GIL before and after it is read. `None` if no known thread held the GIL.
pub(super) fn read(
    gil: &mut RemoteGil,
    stacks: &mut StackReader,
    sample: Sample,
    waiting: usize,
    for_ns: u64,
) -> Option<HolderStack> {
    let Holder::Thread(tid) = sample.holder else { return None };
    // The next regular sample reports an error, if there is one.
    let holder_state = |gil: &mut RemoteGil| {
        let holds = gil.sample().is_ok_and(|now| now.holder == sample.holder);
        holds.then(|| gil.holder_state())
    };
    let stack = holder_state(gil).and_then(|state| stacks.read(state).ok());
    let stack = stack.filter(|_| holder_state(gil).is_some());
    Some(HolderStack { tid, stack, waiting, for_ns })
}
