//! Ctrl-C: while a run is training, or rows are read, the first one saves what there is and stops it; at any other time,
//! and the second time, it ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::failure;

/// Set by a Ctrl-C that is obeyed by stopping.
static STOP: AtomicBool = AtomicBool::new(false);

/// True while there is a loop that looks at [`STOP`].
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that was interrupted, as shells count it: 128 and the number of the signal.
pub const INTERRUPTED: u8 = 130;

/// From now on Ctrl-C (and `kill`, and a terminal that is closed) sets a flag while a loop is [`listening`], and ends
/// the program else: before training there is nothing to save, after it everything is saved.
pub fn on_interrupt() -> anyhow::Result<&'static AtomicBool> {
    on_interrupt_saying(
        "stopping: the state is saved after the step at hand; Ctrl-C again ends at once and loses what is not saved",
    )
}

/// As [`on_interrupt`], for a loop that has something else to say when it is stopped.
pub fn on_interrupt_saying(what: &'static str) -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(move || {
        if !LISTENING.load(Ordering::SeqCst) || STOP.swap(true, Ordering::SeqCst) {
            // A file that is being written has a temporary name until it is whole.
            failure::say("stopped");
            std::process::exit(i32::from(INTERRUPTED));
        }
        failure::say(what);
    })
    .context("cannot catch Ctrl-C")?;
    Ok(&STOP)
}

/// From now on Ctrl-C sets a flag while something is written that can be broken off ([`listening`]), and ends the program else: a
/// conversation leaves nothing to be saved.
pub fn on_interrupt_breaks_off() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if !LISTENING.load(Ordering::SeqCst) || STOP.swap(true, Ordering::SeqCst) {
            // Behind what stands in the line already.
            failure::say("");
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot catch Ctrl-C")?;
    Ok(&STOP)
}

/// Says whether a loop is running that looks at the flag.
pub fn listening(yes: bool) {
    LISTENING.store(yes, Ordering::SeqCst);
}
