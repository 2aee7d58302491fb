//! The program as a person starts it: with arguments, a deadline, and its words caught.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing that the tests ask for takes this long, on a busy machine either.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The run, which must have succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Outcome {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

/// Runs `farout` with `args` to its end.
pub fn farout<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Outcome {
    let mut command = program();
    command.args(args);
    Running::start(command).outcome()
}

/// The program, its logs as they are by default.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farout"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A run that goes on; killed when dropped.
pub struct Running {
    child: Child,
    begun: Instant,
    words: Option<[Option<JoinHandle<String>>; 2]>,
}

impl Running {
    /// Starts `command`, catching what it says.
    pub fn start(command: Command) -> Running {
        Running::start_with(command, None, None)
    }

    /// Starts `command`, catching what it says where no other end is given.
    pub fn start_with(mut command: Command, stdout: Option<Stdio>, stderr: Option<Stdio>) -> Running {
        command.stdout(stdout.unwrap_or_else(Stdio::piped)).stderr(stderr.unwrap_or_else(Stdio::piped));
        let mut child = command.spawn().unwrap();
        let words = [child.stdout.take().map(listen), child.stderr.take().map(listen)];
        Running { child, begun: Instant::now(), words: Some(words) }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: kill takes any numbers; the child was not waited for yet, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits until the program listens to `signal`.
    #[track_caller]
    pub fn until_it_listens_to(&mut self, signal: i32) {
        let id = self.child.id();
        self.until("its signal handler", || {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
            // A mask of the signals that have a handler, in hexadecimal.
            u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
        });
    }

    /// Waits until `true`; the run must not end before.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            if let Some(status) = self.child.try_wait().unwrap() {
                let outcome = self.gather(status);
                panic!("ended before {what}: {outcome:?}");
            }
            assert!(self.begun.elapsed() < DEADLINE, "no {what} for {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end; past the deadline the run is killed and the test fails.
    #[track_caller]
    pub fn outcome(mut self) -> Outcome {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return self.gather(status);
            }
            if self.begun.elapsed() > DEADLINE {
                self.child.kill().unwrap();
                let status = self.child.wait().unwrap();
                panic!("hung for {DEADLINE:?}: {:?}", self.gather(status));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn gather(&mut self, status: ExitStatus) -> Outcome {
        let said = |words: Option<JoinHandle<String>>| words.map_or_else(String::new, |w| w.join().unwrap());
        let [stdout, stderr] = self.words.take().expect("gathered once").map(said);
        Outcome { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
