//! The experiments of the talk: the cases of each, the talk's figures, and the judgement of today's.

mod asyncio;
mod csp;
mod ctypes;
mod cython;
mod experiment;
mod extension;
mod generator;
mod gevent;
mod interpreters;
mod judge;
mod late_worker;
mod libev;
mod no_gil;
mod plan;
mod pool;
mod pp_disconnect;
mod pp_remote;
mod queues;
mod ticks;

pub use experiment::{Bench, Column, Experiment, TALK_SECONDS, TalkFigures, title};

/// All experiments, in the talk's order.
pub const ALL: &[&Experiment] = &[
    &csp::EXPERIMENT,
    &pool::EXPERIMENT,
    &late_worker::EXPERIMENT,
    &queues::EXPERIMENT,
    &pp_remote::EXPERIMENT,
    &pp_disconnect::EXPERIMENT,
    &cython::EXPERIMENT,
    &ctypes::EXPERIMENT,
    &extension::EXPERIMENT,
    &generator::EXPERIMENT,
    &libev::EXPERIMENT,
    &gevent::EXPERIMENT,
    &asyncio::EXPERIMENT,
    &interpreters::EXPERIMENT,
    &no_gil::EXPERIMENT,
];

/// Returns the experiment of that name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    ALL.iter().copied().find(|experiment| experiment.name == name)
}
