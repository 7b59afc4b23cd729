//! Options that every command has, and what they decide: the hub, the threads, what is said.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use topwork::hub::{Hub, Settings};

use crate::failure;
use crate::fetching::Fetching;

/// Options of every command.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Touch no network at all (as TOPWORK_OFFLINE=1 does)
    #[arg(long, global = true)]
    offline: bool,
    /// Folder for what is fetched [default: TOPWORK_CACHE, or the platform's cache folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Folder in which data sets are found by name, laid out as they are published [default: TOPWORK_DATA]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_home: Option<PathBuf>,
    /// Threads [default: RAYON_NUM_THREADS, or one a core]; changes the time and no result
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Say nothing on the way but warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl Global {
    /// Where models and data are found.
    pub fn hub(&self) -> anyhow::Result<Hub> {
        let mut settings = match &self.cache {
            // A cache that is named needs no home folder to put a default one into.
            Some(cache) => {
                let cache =
                    std::path::absolute(cache).with_context(|| format!("--cache {}", cache.display()))?;
                Settings { cache: cache.clone(), ..Settings::from_env().unwrap_or_else(|_| bare(cache)) }
            }
            None => Settings::from_env()?,
        };
        settings.offline = self.is_offline();
        if let Some(home) = &self.data_home {
            settings.data_home = Some(home.clone());
        }
        Ok(Hub::with(settings))
    }

    /// The folder of a trained model; a run folder stands for its best checkpoint.
    pub fn model_folder(&self, reference: &str) -> anyhow::Result<PathBuf> {
        let best = Path::new(reference).join("best");
        if !Path::new(reference).join("config.json").exists() && best.join("config.json").is_file() {
            return Ok(best);
        }
        Ok(self.hub()?.model(reference, &self.fetching())?.path)
    }

    /// A model as commands that train take it: a run folder is named by its best checkpoint.
    pub fn model_name(&self, reference: &str) -> String {
        let best = Path::new(reference).join("best");
        if !Path::new(reference).join("config.json").exists() && best.join("config.json").is_file() {
            return best.display().to_string();
        }
        reference.to_string()
    }

    /// Whether the network is out of bounds.
    pub fn is_offline(&self) -> bool {
        self.offline
            || std::env::var("TOPWORK_OFFLINE").is_ok_and(|value| !matches!(value.trim(), "" | "0" | "false"))
    }

    /// Shows what is being fetched.
    pub fn fetching(&self) -> Fetching {
        Fetching::new(self.quiet, self.draws())
    }

    /// Says a line, unless asked to be quiet.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            failure::say(line);
        }
    }

    /// Whether nothing but warnings is to be said.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether bars can be drawn: standard error is a terminal, and it is not to be quiet.
    pub fn draws(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Sets the number of threads, before the first one is started.
    pub fn use_threads(&self) -> anyhow::Result<()> {
        let mut pool = rayon::ThreadPoolBuilder::new().stack_size(STACK);
        if let Some(threads) = self.threads {
            pool = pool.num_threads(usize::from(threads));
        }
        pool.build_global().context("threads")
    }
}

/// Bytes of stack of a thread of the pool: commands run on one (see `main`), so as many as a main thread has.
const STACK: usize = 8 << 20;

fn bare(cache: PathBuf) -> Settings {
    Settings {
        cache,
        offline: false,
        hf_endpoint: "https://huggingface.co".into(),
        hf_token: None,
        certificates: None,
        search_path: std::env::var_os("PATH").unwrap_or_default(),
        data_home: std::env::var_os("TOPWORK_DATA").filter(|folder| !folder.is_empty()).map(PathBuf::from),
    }
}
