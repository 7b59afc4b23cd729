//! `topwork doctor`: what this machine offers, and what is in the way.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use topwork_kernels::gemm;
use topwork_kernels::{Mat, MatMut, Precision};

use crate::Ended;
use crate::global::Global;
use crate::numbers::{bytes, counted};

/// Look at this machine: CPU, memory, speed, cache, programs needed
#[derive(clap::Args)]
#[command(after_help = "Ends with exit code 1 when something is in the way.

Examples:
  topwork doctor
  topwork doctor --network")]
pub struct Doctor {
    /// Also see whether the model hub can be reached
    #[arg(long)]
    network: bool,
}

impl Doctor {
    /// Prints what it finds.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let mut page = Page { out, problems: 0 };
        let debug = if cfg!(debug_assertions) {
            ", built without optimisation (build it with --release)"
        } else {
            ""
        };
        page.line("topwork", &format!("{}{debug}", env!("CARGO_PKG_VERSION")))?;
        page.line("system", &format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH))?;
        self.processor(&mut page)?;
        self.memory(&mut page)?;
        self.speed(&mut page)?;
        self.cache(global, &mut page)?;
        self.programs(&mut page)?;
        self.network(global, &mut page)?;
        let problems = page.problems;
        if problems == 0 {
            writeln!(out, "nothing is in the way")?;
            return Ok(Ended::Done);
        }
        writeln!(out, "{} in the way", counted(problems, "thing"))?;
        Ok(Ended::Negative)
    }

    fn processor(&self, page: &mut Page) -> anyhow::Result<()> {
        let cpu = topwork_kernels::cpu();
        let features =
            if cpu.features.is_empty() { "none that matter".into() } else { cpu.features.join(" ") };
        page.line(
            "cpu",
            &format!("{}; features: {features}", model_name().unwrap_or_else(|| "unknown".into())),
        )?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        page.line(
            "kernels",
            &format!("{}, {} of {cores} cores", cpu.path.name(), counted(cpu.threads, "thread")),
        )?;
        let bf16 = if cpu.tiles {
            "in hardware, in tile registers (AMX); --precision bf16 is the default"
        } else if cpu.native_bf16 {
            "in hardware; --precision bf16 is the default"
        } else {
            "not in hardware; --precision f32 is the default, bf16 works and is no faster"
        };
        page.line("bf16", bf16)?;
        if let Some(note) = cpu.note {
            page.problem("cpu", &note)?;
        }
        Ok(())
    }

    fn memory(&self, page: &mut Page) -> anyhow::Result<()> {
        match (proc_value("/proc/meminfo", "MemTotal:"), proc_value("/proc/meminfo", "MemAvailable:")) {
            (Some(total), Some(free)) => {
                page.line("memory", &format!("{}, {} available", bytes(total), bytes(free)))
            }
            _ => page.line("memory", "not told by this system"),
        }
    }

    fn speed(&self, page: &mut Page) -> anyhow::Result<()> {
        let f32 = gigaflops(Precision::F32);
        let bf16 = gigaflops(Precision::Bf16);
        page.line("speed", &format!("{f32:.0} GFLOP/s in f32, {bf16:.0} in bf16 (products of {SIDE}x{SIDE})"))
    }

    fn cache(&self, global: &Global, page: &mut Page) -> anyhow::Result<()> {
        let hub = match global.hub() {
            Ok(hub) => hub,
            Err(error) => return page.problem("cache", &format!("{error:#}")),
        };
        let root = hub.cache().root();
        let size = folder_size(root);
        let held = match hub.cache().entries() {
            Ok(entries) => counted(entries.len(), "reference"),
            Err(error) => return page.problem("cache", &format!("{error}; set --cache or TOPWORK_CACHE")),
        };
        page.line("cache", &format!("{}: {held}, {}", root.display(), bytes(size)))?;
        match writable(root) {
            Ok(()) => Ok(()),
            Err((folder, error)) => page.problem(
                "cache",
                &format!("cannot write in {}: {error}; set --cache or TOPWORK_CACHE", folder.display()),
            ),
        }
    }

    fn programs(&self, page: &mut Page) -> anyhow::Result<()> {
        for (program, reference) in [("pip", "pypi:"), ("npm", "npm:")] {
            // Python may come with pip and without a program of that name.
            let names: &[&str] =
                if program == "pip" { &["pip3", "pip", "python3", "python"] } else { &["npm"] };
            match names.iter().find_map(|name| found(name)) {
                Some(path) => page.line(program, &path.display().to_string())?,
                None => page.line(program, &format!("not on PATH; {reference} references need it"))?,
            }
        }
        Ok(())
    }

    fn network(&self, global: &Global, page: &mut Page) -> anyhow::Result<()> {
        if global.is_offline() {
            return page.line("network", "forbidden by --offline or TOPWORK_OFFLINE");
        }
        if !self.network {
            return page.line("network", "not looked at (add --network)");
        }
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".into());
        let host = endpoint.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default();
        let address = if host.contains(':') { host.to_string() } else { format!("{host}:443") };
        match reach(&address) {
            Ok(time) => page.line("network", &format!("{address} answers in {:.0} ms", time.as_secs_f64() * 1e3)),
            Err(error) => page.problem(
                "network",
                &format!("{address} cannot be reached directly: {error}; hf: references need it or a mirror in HF_ENDPOINT"),
            ),
        }
    }
}

/// What is printed, and how much of it is bad.
struct Page<'a> {
    out: &'a mut dyn Write,
    problems: usize,
}

impl Page<'_> {
    fn line(&mut self, what: &str, text: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.out, "{what:<9}{text}")?)
    }

    fn problem(&mut self, what: &str, text: &str) -> anyhow::Result<()> {
        self.problems += 1;
        self.line(what, &format!("PROBLEM: {text}"))
    }
}

/// Peak of this process's resident memory in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    proc_value("/proc/self/status", "VmHWM:")
}

/// This process's resident memory in bytes, where the system tells.
pub fn resident_memory() -> Option<u64> {
    proc_value("/proc/self/status", "VmRSS:")
}

/// A line such as `MemTotal:  24000 kB`, in bytes.
fn proc_value(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn model_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_string())
}

/// Rows and columns of the matrices the speed is measured with.
const SIDE: usize = 512;

/// The best of a few products: what the machine can do when nobody disturbs it.
fn gigaflops(precision: Precision) -> f64 {
    let a: Vec<f32> = (0..SIDE * SIDE).map(|at| (at % 17) as f32 - 8.0).collect();
    let mut c = vec![0.0; SIDE * SIDE];
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        let started = Instant::now();
        let (left, right) = (Mat::new(&a, SIDE, SIDE), Mat::new(&a, SIDE, SIDE));
        gemm::nt(left, right, MatMut::new(&mut c, SIDE, SIDE), None, false, precision);
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (SIDE as f64).powi(3) / best / 1e9
}

/// Bytes of all files below a folder; what cannot be read counts nothing.
fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => folder_size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |meta| meta.len()),
            _ => 0,
        })
        .sum()
}

/// Tries to write into a folder, or into the first one above it that exists, and leaves nothing behind.
fn writable(folder: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    let probe = there.join(format!(".topwork-doctor-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    tried.map_err(|error| (there.to_path_buf(), error))
}

/// Where a program lies on PATH.
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

fn reach(address: &str) -> std::io::Result<Duration> {
    let started = Instant::now();
    let mut last = std::io::Error::other("the name has no address");
    for place in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, Duration::from_secs(3)) {
            Ok(_) => return Ok(started.elapsed()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
