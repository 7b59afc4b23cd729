//! The topwork program: arguments in, calls into the library, printing out.
//!
//! What a user asked for goes to standard output; everything said on the way goes to standard error. Exit codes: 0
//! done, 1 a negative answer, 2 an error, 130 stopped by Ctrl-C with everything saved.

mod adapters;
mod commands;
mod failure;
mod fetching;
mod given;
mod global;
mod numbers;
mod precision;
mod stop;
mod texts;
mod training;
mod writing;

use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use global::Global;

#[global_allocator]
static ALLOCATOR: topwork_kernels::allocator::Allocator = topwork_kernels::allocator::Allocator;

/// Adapts pretrained language models to new tasks on this machine, and proves how well it does.
#[derive(Parser)]
#[command(
    name = "topwork",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = false,
    after_help = "Exit codes: 0 done, 1 a negative answer, 2 an error, 130 stopped by Ctrl-C with everything saved.\n\
                  Each command shows examples: topwork train --help"
)]
struct Program {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Done.
    Done,
    /// Done, and the answer is no.
    Negative,
    /// Stopped by Ctrl-C, with everything saved.
    Interrupted,
}

impl Ended {
    fn code(self) -> u8 {
        match self {
            Ended::Done => 0,
            Ended::Negative => 1,
            Ended::Interrupted => stop::INTERRUPTED,
        }
    }
}

fn main() -> ExitCode {
    topwork_kernels::allocator::keep_pages();
    failure::install_panic_hook();
    let Program { global, command } = Program::parse();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        global.use_threads()?;
        // On a thread of the pool: from outside, each of the hundreds of parallel passes of a step would put this thread
        // to sleep and wake another.
        rayon::scope(|_| {
            let mut out = BufWriter::new(std::io::stdout());
            let ended = command.run(&global, &mut out)?;
            out.flush()?;
            Ok(ended)
        })
    }));
    match ended {
        Ok(Ok(ended)) => ExitCode::from(ended.code()),
        Ok(Err(error)) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            failure::say(&format!("error: {}", failure::chain(&error)));
            ExitCode::from(2)
        }
        // The hook has said where.
        Err(_) => ExitCode::from(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed_and_every_command_shows_examples() {
        let mut program = Program::command();
        program.build();
        program.clone().debug_assert();
        let mut seen = 0;
        let mut waiting: Vec<clap::Command> = program.get_subcommands().cloned().collect();
        while let Some(mut command) = waiting.pop() {
            if command.is_hide_set() || command.get_name() == "help" {
                continue;
            }
            if command.has_subcommands() {
                waiting.extend(command.get_subcommands().cloned());
                continue;
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:\n  topwork "), "{}: {help}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
            seen += 1;
        }
        assert_eq!(seen, commands::COUNT);
    }
}
