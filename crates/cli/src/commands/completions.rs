//! `topwork completions`: what a shell needs to complete our arguments.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Ended, Program};

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork completions bash > ~/.local/share/bash-completion/completions/topwork
  topwork completions zsh > ~/.zfunc/_topwork
  topwork completions fish > ~/.config/fish/completions/topwork.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<Ended> {
        // Into memory first: the generator panics when its reader has gone.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Program::command(), "topwork", &mut script);
        out.write_all(&script)?;
        Ok(Ended::Done)
    }
}
