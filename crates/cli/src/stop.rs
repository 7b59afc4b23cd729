//! Ctrl-C: the first asks a run to save and stop, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::failure;

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that was interrupted, as shells count it: 128 and the number of the signal.
pub const INTERRUPTED: u8 = 130;

/// From now on Ctrl-C sets a flag (as do `kill` and a terminal that is closed), and only the second one ends the
/// program.
pub fn on_interrupt() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        failure::say("stopping: the state is saved after the step at hand; Ctrl-C again ends at once and loses what is not saved");
    })
    .context("cannot catch Ctrl-C")?;
    Ok(&STOP)
}
