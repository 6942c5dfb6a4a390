//! More threads than descriptors. This test is alone in its process, since it lowers the process's limit of
//! descriptors.
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "sampler.rs uses the rest")]
mod common;

use busy_core::cpu::Sampler;
use common::{Puppet, eventually};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::{self, File};

/// Runs the child process of the test; it is not a test.
#[test]
#[ignore = "run by the other test, as a separate process"]
fn puppet() {
    common::obey();
}

#[test]
fn thousands_of_threads_are_all_sampled_on_a_quarter_of_the_descriptors() {
    const THREADS: usize = 2000;
    let mut puppet = Puppet::start();
    let started: Vec<u32> = (0..THREADS).map(|_| puppet.start_thread()).collect();
    let all = puppet.threads_and(&started);

    setrlimit(Resource::Nofile, Rlimit { current: Some(128), maximum: Some(128) }).unwrap();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    let seen = |sampler: &mut Sampler| -> Vec<u32> {
        sampler.sample().unwrap().threads.iter().map(|thread| thread.tid).collect()
    };
    // A thread that has just started may still have no CPU time: the kernel adds it at a running thread's tick, and when the
    // thread sleeps (update_curr in kernel/sched/fair.c). And it adds none for as long as the hypervisor has taken the core
    // before (update_rq_clock_task in kernel/sched/core.c), so many threads in a row may keep none.
    let counted =
        |sampler: &mut Sampler| sampler.sample().unwrap().threads.iter().filter(|thread| !thread.cpu.is_zero()).count();
    eventually("more threads than descriptors have CPU time", || counted(&mut sampler) > 128);
    for _ in 0..3 {
        assert!(seen(&mut sampler) == all, "expected exactly the {} threads that exist", all.len());
        // The others are the list of threads, /proc/stat and the pidfd.
        assert!((before + 20..=before + 32 + 3).contains(&open()), "{before} before, then {}", open());
    }

    // Another sampler of this process shares the budget.
    let mut second = Sampler::open(puppet.pid()).unwrap();
    assert!(seen(&mut second) == all, "expected exactly the {} threads that exist", all.len());
    assert!(open() <= before + 32 + 2 * 3, "{before} before, then {}", open());
    drop(second);

    // If other files take all descriptors, sampling fails with an error that names the reason. Afterwards it works
    // again.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    // A sample of a process that has not run needs no descriptor, so let it run.
    puppet.churn();
    puppet.answer();
    assert_eq!(sampler.sample().unwrap_err().raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    drop(taken);
    eventually("all threads, and no other", || seen(&mut sampler) == all);

    // Threads that end free their descriptors.
    for _ in 0..THREADS {
        puppet.end_thread();
    }
    let new = [(); 4].map(|()| puppet.start_thread());
    eventually("only the new threads are left", || seen(&mut sampler) == puppet.threads_and(&new));
    // The descriptors are those of its two own threads and of the new ones, the list, /proc/stat, and the pidfd if
    // there is one.
    assert!((before + 6 + 2..=before + 6 + 3).contains(&open()), "{before} before, then {}", open());
}
