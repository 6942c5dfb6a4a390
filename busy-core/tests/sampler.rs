//! The sampler on processes whose threads start and end.
#![cfg(target_os = "linux")]

mod common;

use busy_core::busy_wait_cancellable;
use busy_core::clock::monotonic_ns;
use busy_core::cpu::{Sample, Sampler, own_thread, threads};
use common::{Puppet, eventually, own_tid};
use std::io::ErrorKind;
use std::process::{Command, id};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Runs the child process of the tests; it is not a test.
#[test]
#[ignore = "run by the other tests, as a separate process"]
fn puppet() {
    common::obey();
}

fn tids(sample: &Sample) -> Vec<u32> {
    sample.threads.iter().map(|thread| thread.tid).collect()
}

#[test]
fn threads_of_another_process_start_and_end_between_samples() {
    let mut puppet = Puppet::start();
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    assert_eq!(tids(sampler.sample().unwrap()), puppet.threads_and(&[]));

    let (one, two) = (puppet.start_thread(), puppet.start_thread());
    assert_eq!(tids(sampler.sample().unwrap()), puppet.threads_and(&[one, two]));
    puppet.end_thread();
    // A thread leaves the list a few microseconds after it was joined.
    eventually("the ended thread is gone", || tids(sampler.sample().unwrap()) == puppet.threads_and(&[two]));
    for _ in 0..3 {
        let new = puppet.replace_thread();
        eventually("the new thread is there and the replaced one is gone", || {
            tids(sampler.sample().unwrap()) == puppet.threads_and(&[new])
        });
    }
    puppet.end_thread();
    eventually("only the child's own threads are left", || tids(sampler.sample().unwrap()) == puppet.threads_and(&[]));
}

#[test]
fn a_thread_that_takes_the_place_of_another_is_seen_in_the_next_sample() {
    let mut puppet = Puppet::start();
    let mut last = puppet.start_thread();
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    for _ in 0..50 {
        assert_eq!(tids(sampler.sample().unwrap()), puppet.threads_and(&[last]));
        let new = puppet.replace_thread();
        eventually("the kernel has removed the thread", || threads(puppet.pid()).unwrap().len() == 3);
        last = new;
    }
}

#[test]
fn sleeping_threads_have_the_same_figures_in_samples_and_single_reads() {
    let mut puppet = Puppet::start();
    puppet.start_thread();
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    eventually("all threads sleep, and both readings agree", || {
        let read = threads(puppet.pid()).unwrap();
        let sampled = &sampler.sample().unwrap().threads;
        sampled.len() == 3
            && sampled.iter().zip(&read).all(|(sampled, read)| {
                let (sampled, read) = ((sampled.cpu, sampled.run_delay), (read.cpu, read.run_delay));
                sampled == read && !sampled.0.is_zero()
            })
    });
}

#[test]
fn a_spinner_uses_cpu_and_its_sleeping_neighbours_none_and_no_figure_goes_back() {
    let mut puppet = Puppet::start();
    let (sleeper, spinner) = (puppet.start_thread(), puppet.start_spinner());
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    let mut last: Sample = sampler.sample().unwrap().clone();
    let first = last.clone();
    let start_ns = last.monotonic_ns;
    while last.monotonic_ns - start_ns < 200_000_000 {
        thread::sleep(Duration::from_millis(2));
        let sample = sampler.sample().unwrap();
        assert!(sample.monotonic_ns > last.monotonic_ns);
        assert!(sample.cores_monotonic_ns >= last.cores_monotonic_ns);
        assert!(sample.cores_monotonic_ns <= sample.monotonic_ns);
        assert!(sample.cores_monotonic_ns > last.cores_monotonic_ns || sample.cores == last.cores);
        for (now, before) in sample.threads.iter().zip(&last.threads) {
            assert_eq!(now.tid, before.tid);
            assert!(now.cpu >= before.cpu && now.run_delay >= before.run_delay, "{now:?} after {before:?}");
        }
        last = sample.clone();
    }
    let used = |tid| {
        let cpu = |sample: &Sample| sample.threads.iter().find(|thread| thread.tid == tid).unwrap().cpu;
        cpu(&last) - cpu(&first)
    };
    assert!(used(spinner) > Duration::from_millis(5), "{:?}", used(spinner));
    assert!(used(sleeper) < Duration::from_millis(5), "{:?}", used(sleeper));
    assert!(last.cores_monotonic_ns > first.cores_monotonic_ns);
}

#[test]
fn samples_go_on_while_threads_start_and_end_all_the_time() {
    let mut puppet = Puppet::start();
    let keeps = puppet.start_thread();
    let mut sampler = Sampler::open(puppet.pid()).unwrap();
    puppet.churn();
    let churns = thread::scope(|scope| {
        let churning = scope.spawn(|| puppet.answer());
        let mut churns = 0;
        while !churning.is_finished() {
            let tids = tids(sampler.sample().unwrap());
            assert!(tids.is_sorted() && tids.contains(&keeps), "{tids:?}");
            churns += usize::from(tids.len() > 3);
        }
        churns
    });
    assert!(churns > 0, "expected to sample at least one of the short-lived threads");
    eventually("only the threads that stay are left", || {
        tids(sampler.sample().unwrap()) == puppet.threads_and(&[keeps])
    });
}

#[test]
fn an_ended_process_is_not_found_before_and_after_its_parent_waits_for_it() {
    let mut puppet = Puppet::start();
    let pid = puppet.pid();
    let mut sampler = Sampler::open(pid).unwrap();
    puppet.start_thread();
    sampler.sample().unwrap();
    puppet.child.kill().unwrap();
    let mut error = None;
    eventually("its end is detected although its parent has not waited", || {
        error = sampler.sample().err();
        error.is_some()
    });
    let error = error.unwrap();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, format!("process {pid} has ended")));
    puppet.child.wait().unwrap();
    assert_eq!(sampler.sample().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Sampler::open(pid).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn a_process_that_does_not_exist_is_not_found() {
    for pid in [0, u32::MAX, i32::MAX as u32] {
        let error = Sampler::open(pid).err().expect("no such process");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&format!("/proc/{pid}/task")), "{error}");
    }
    // This process has ended, but its parent has not waited for it yet.
    let mut child = Command::new("true").spawn().unwrap();
    eventually("it has ended", || {
        Sampler::open(child.id()).and_then(|mut sampler| sampler.sample().map(|_| ())).is_err()
    });
    child.wait().unwrap();
}

#[test]
fn running_threads_of_the_calling_process_are_read_exactly() {
    let mut sampler = Sampler::open(id()).unwrap();
    let stop = AtomicBool::new(false);
    // One spinner for each core, so that spinners run on all other cores while this thread samples.
    let spinners = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        let (send_tid, tid) = channel();
        for _ in 0..spinners {
            let send_tid = send_tid.clone();
            let stop = &stop;
            scope.spawn(move || {
                send_tid.send(own_tid()).unwrap();
                busy_wait_cancellable(Duration::from_secs(60), stop);
            });
        }
        let tids: Vec<u32> = tid.iter().take(spinners).collect();
        let mut late = Vec::new();
        for _ in 0..200 {
            thread::sleep(Duration::from_micros(2700));
            let sample = sampler.sample().unwrap();
            for &tid in &tids {
                let cpu = sample.threads.iter().find(|thread| thread.tid == tid).expect("a spinner").cpu;
                // Since the sample, the thread can't have used more CPU time than the time that has passed.
                let since =
                    own_thread(tid).unwrap().checked_sub(cpu).expect("a sample must not exceed a later reading");
                let passed = Duration::from_nanos(monotonic_ns() - sample.monotonic_ns);
                if since > passed {
                    late.push(format!("{since:?} used within {passed:?}"));
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        // Without the thread's clock, nearly every figure would be late by up to a tick. Sometimes the kernel itself
        // reads the clock of a thread during a context switch without updating it (task_sched_runtime in
        // kernel/sched/core.c).
        assert!(late.len() <= 200 * tids.len() / 20, "{late:?}");
    });
}

#[test]
fn own_threads_start_and_end_between_samples() {
    let mut sampler = Sampler::open(id()).unwrap();
    for _ in 0..20 {
        let (leave, left) = channel::<()>();
        let (send_tid, tid) = channel();
        let thread = thread::spawn(move || {
            send_tid.send(own_tid()).unwrap();
            let _ = left.recv();
        });
        let tid = tid.recv().unwrap();
        let tids = |sampler: &mut Sampler| tids(sampler.sample().unwrap());
        let seen = tids(&mut sampler);
        assert!(seen.contains(&tid) && seen.contains(&own_tid()), "{tid} is not in {seen:?}");
        drop(leave);
        thread.join().unwrap();
        eventually("the thread is gone", || !tids(&mut sampler).contains(&tid));
    }
}
