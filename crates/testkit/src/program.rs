//! Running a real program in a fresh folder: for the tests of what users see.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Why a run gave no result, or not the one expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The program could not be started, fed or read.
    #[error("cannot run {}: {source}", program.display())]
    System {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program took too long and was killed.
    #[error("{} did not end within {} s; it printed\n{output}", program.display(), limit.as_secs_f64())]
    TooSlow {
        /// The program.
        program: PathBuf,
        /// The time it had.
        limit: Duration,
        /// Its standard output and error so far.
        output: String,
    },
    /// The program ended with another exit code.
    #[error("exit code {got:?}, expected {expected}; it printed\n{output}")]
    Code {
        /// The code that was expected.
        expected: i32,
        /// The code, or none when a signal ended it.
        got: Option<i32>,
        /// Its standard output and error.
        output: String,
    },
}

/// A program with a fresh folder to run in, which is removed at the end.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// `work` is the folder the program sees; its output is caught beside it.
    root: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// One run of a program, being prepared.
#[derive(Debug)]
pub struct Run<'a> {
    program: &'a Program,
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

/// A program that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    program: PathBuf,
    out: PathBuf,
    err: PathBuf,
    started: Instant,
    limit: Duration,
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code, or none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub time: Duration,
}

impl Program {
    /// A program by its path: `Program::new(env!("CARGO_BIN_EXE_topwork"))`.
    ///
    /// # Errors
    /// [`RunError::System`] when no fresh folder can be made.
    pub fn new(path: impl AsRef<Path>) -> Result<Program, RunError> {
        let path = path.as_ref().to_path_buf();
        let made = tempfile::tempdir().and_then(|root| {
            fs::create_dir(root.path().join("work"))?;
            Ok(root)
        });
        match made {
            Ok(root) => Ok(Program { path, root, environment: Vec::new() }),
            Err(source) => Err(RunError::System { program: path, source }),
        }
    }

    /// Sets an environment variable for every run.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.environment.push((name.to_string(), value.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// The folder the program runs in.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Writes a file into the folder, with the folders above it, and gives its path.
    ///
    /// # Errors
    /// [`RunError::System`].
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, RunError> {
        let path = self.folder().join(name);
        let written = match path.parent() {
            Some(parent) => fs::create_dir_all(parent),
            None => Ok(()),
        };
        match written.and_then(|()| fs::write(&path, content)) {
            Ok(()) => Ok(path),
            Err(source) => Err(RunError::System { program: self.path.clone(), source }),
        }
    }

    /// Prepares a run with these arguments.
    pub fn args<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run<'_> {
        let mut command = Command::new(&self.path);
        command.args(args).current_dir(self.folder());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        Run { program: self, command, input: Vec::new(), limit: Duration::from_secs(300) }
    }
}

impl Run<'_> {
    /// What the program reads from standard input (nothing, if not given).
    #[must_use]
    pub fn stdin(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = input.as_ref().to_vec();
        self
    }

    /// Sets an environment variable for this run.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The time the program may take (300 s, if not given).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// [`RunError::System`], [`RunError::TooSlow`].
    pub fn run(self) -> Result<Finished, RunError> {
        self.spawn()?.wait()
    }

    /// Starts the program and comes back at once.
    ///
    /// # Errors
    /// [`RunError::System`].
    pub fn spawn(mut self) -> Result<Running, RunError> {
        let program = self.program.path.clone();
        let limit = self.limit;
        self.start()
            .map_err(|source| RunError::System { program: program.clone(), source })
            .map(|(child, out, err)| Running { child, program, out, err, started: Instant::now(), limit })
    }

    fn start(&mut self) -> io::Result<(Child, PathBuf, PathBuf)> {
        // Files rather than pipes: nothing to drain, so nothing to deadlock on.
        let place = |kind: &str| -> io::Result<(File, PathBuf)> {
            let (file, path) = tempfile::Builder::new()
                .prefix(kind)
                .tempfile_in(self.program.root.path())?
                .keep()
                .map_err(|error| error.error)?;
            Ok((file, path))
        };
        let (_, input) = place("in-")?;
        let (out_file, out) = place("out-")?;
        let (err_file, err) = place("err-")?;
        fs::write(&input, &self.input)?;
        let child = self.command.stdin(File::open(input)?).stdout(out_file).stderr(err_file).spawn()?;
        Ok((child, out, err))
    }
}

impl Running {
    /// The process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program has written so far to standard output and standard error.
    pub fn output(&self) -> (String, String) {
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        (text(&self.out), text(&self.err))
    }

    /// Waits until `reached` holds; `false` when the program ended before, or its time was up.
    pub fn wait_until(&mut self, mut reached: impl FnMut(&Running) -> bool) -> bool {
        loop {
            if reached(self) {
                return true;
            }
            if self.started.elapsed() > self.limit || !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends the program at once, as `kill -9` and a power cut do.
    ///
    /// # Errors
    /// [`RunError::System`].
    pub fn kill(mut self) -> Result<Finished, RunError> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        self.finish(ended)
    }

    /// Asks the program to stop, as Ctrl-C does.
    ///
    /// # Errors
    /// [`RunError::System`].
    pub fn interrupt(&self) -> Result<(), RunError> {
        let sent = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .stdout(Stdio::null())
            .status()
            .and_then(|status| if status.success() { Ok(()) } else { Err(io::Error::other("kill failed")) });
        sent.map_err(|source| RunError::System { program: self.program.clone(), source })
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`RunError::System`], [`RunError::TooSlow`].
    pub fn wait(mut self) -> Result<Finished, RunError> {
        loop {
            match self.child.try_wait() {
                Ok(None) if self.started.elapsed() <= self.limit => std::thread::sleep(POLL),
                Ok(None) => {
                    let (out, err) = self.output();
                    // Dropping kills it.
                    return Err(RunError::TooSlow {
                        program: self.program.clone(),
                        limit: self.limit,
                        output: format!("{out}{err}"),
                    });
                }
                Ok(Some(status)) => return self.finish(Ok(status)),
                Err(error) => return self.finish(Err(error)),
            }
        }
    }

    fn finish(&self, ended: io::Result<ExitStatus>) -> Result<Finished, RunError> {
        let time = self.started.elapsed();
        let read = || -> io::Result<Finished> {
            let status = ended?;
            Ok(Finished {
                code: status.code(),
                stdout: fs::read(&self.out)?,
                stderr: fs::read(&self.err)?,
                time,
            })
        };
        read().map_err(|source| RunError::System { program: self.program.clone(), source })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended, in most cases; then both calls do nothing that matters.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Itself, if the exit code is the expected one.
    ///
    /// # Errors
    /// [`RunError::Code`] with all that was printed.
    pub fn expect_code(self, expected: i32) -> Result<Finished, RunError> {
        if self.code == Some(expected) {
            return Ok(self);
        }
        let output = format!("{}{}", self.out(), self.err());
        Err(RunError::Code { expected, got: self.code, output })
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell() -> Program {
        Program::new("/bin/sh").unwrap().env("GREETING", "hello")
    }

    #[test]
    fn output_input_environment_and_code_come_through() {
        let program = shell();
        program.file("deep/note.txt", "from a file\n").unwrap();
        let script = "cat deep/note.txt; cat; echo $GREETING $NAME; echo oops >&2; exit 3";
        let done = program.args(["-c", script]).stdin("from stdin\n").env("NAME", "you").run().unwrap();
        assert_eq!(done.out(), "from a file\nfrom stdin\nhello you\n");
        assert_eq!(done.err(), "oops\n");
        assert_eq!(done.code, Some(3));
        let done = done.expect_code(3).unwrap();
        let error = done.expect_code(0).unwrap_err().to_string();
        assert!(error.contains("exit code Some(3), expected 0") && error.contains("oops"), "{error}");
    }

    #[test]
    fn the_folder_is_fresh_empty_and_removed() {
        let program = shell();
        let folder = program.folder();
        let done = program.args(["-c", "ls -A; pwd; echo x > made"]).run().unwrap();
        assert_eq!(Path::new(done.out().trim()).canonicalize().unwrap(), folder.canonicalize().unwrap());
        assert!(folder.join("made").exists());
        drop(program);
        assert!(!folder.exists());
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let program = shell();
        let run = program.args(["-c", "echo started; exec sleep 60"]).limit(Duration::from_millis(300));
        let begun = Instant::now();
        let error = run.run().unwrap_err().to_string();
        assert!(error.contains("did not end within 0.3 s") && error.contains("started"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    /// True where whoever started the tests has them ignore interrupts, as a shell does with what it puts into the
    /// background: a child inherits that, and another shell cannot trap what it ignored from its start.
    fn interrupts_are_ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // SIGINT is number 2.
        mask.is_some_and(|mask| mask & 0b10 != 0)
    }

    #[test]
    fn a_run_can_be_awaited_killed_and_interrupted() {
        let program = shell();
        let slow = ["-c", "echo ready; exec sleep 60"];
        let mut running = program.args(slow).spawn().unwrap();
        assert!(running.wait_until(|running| running.output().0.contains("ready")));
        assert_eq!(running.kill().unwrap().code, None);

        if !interrupts_are_ignored() {
            let trap = ["-c", "trap 'echo saved; exit 7' INT; echo ready; while :; do sleep 0.05; done"];
            let mut running = program.args(trap).spawn().unwrap();
            assert!(running.wait_until(|running| running.output().0.contains("ready")));
            running.interrupt().unwrap();
            let done = running.wait().unwrap();
            assert_eq!((done.out().as_str(), done.code), ("ready\nsaved\n", Some(7)));
        }

        let mut ended = program.args(["-c", "exit 0"]).spawn().unwrap();
        assert!(!ended.wait_until(|_| false));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let program = Program::new("/no/such/program").unwrap();
        assert!(matches!(program.args(["x"]).run(), Err(RunError::System { .. })));
    }
}
