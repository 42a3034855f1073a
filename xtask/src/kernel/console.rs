//! What the machine says on its serial console, and what follows from it.
//!
//! The first program of the machine marks where it begins, how each test executable ended, and where it ends. A machine
//! that stops without its last mark has stopped by itself, whatever it said before. What a test prints is never taken for
//! more than it is, unless it prints a whole mark of its own.

use crate::steps::Counts;

/// What has been said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Console {
    /// The release of the kernel, once the machine is up.
    pub(super) release: Option<String>,
    /// Every test executable that has ended, with its exit code.
    pub(super) exits: Vec<Exit>,
    /// Whether all have.
    pub(super) ended: bool,
    /// What the executable that runs now has tested so far.
    running: Counts,
    unfinished: Vec<u8>,
}

/// How a test executable ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) code: i32,
    /// What it tested; nothing if it did not live to say so.
    pub(super) counts: Counts,
}

impl Console {
    /// Takes in what came, however it was cut.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.unfinished);
                self.take_line(String::from_utf8_lossy(&line).trim_end());
            } else {
                self.unfinished.push(*byte);
            }
        }
    }

    fn take_line(&mut self, line: &str) {
        if let Some(release) = line.strip_prefix("WEIR-BEGIN ") {
            self.release = Some(release.to_owned());
        } else if let Some((code, name)) =
            line.strip_prefix("WEIR-EXIT ").and_then(|rest| rest.split_once(' '))
        {
            if let Ok(code) = code.parse() {
                let counts = std::mem::take(&mut self.running);
                self.exits.push(Exit { name: name.to_owned(), code, counts });
            }
        } else if line == "WEIR-END" {
            self.ended = true;
        } else {
            self.running.take(line);
        }
    }

    /// The sum of what the executables tested.
    pub(super) fn counts(&self) -> Counts {
        self.exits.iter().fold(Counts::default(), |sum, exit| Counts {
            passed: sum.passed + exit.counts.passed,
            failed: sum.failed + exit.counts.failed,
        })
    }

    /// The executables that failed, in words; empty if none did.
    pub(super) fn failures(&self) -> String {
        let told: Vec<String> = self.exits.iter().filter_map(Exit::failure).collect();
        told.join(", ")
    }
}

impl Exit {
    /// Why it failed, if it did. One that passed no test ran none, or was told to leave all of them out.
    fn failure(&self) -> Option<String> {
        match (self.code, self.counts.passed) {
            (0, 0) => Some(format!("{} passed no test", self.name)),
            (0, _) => None,
            (code, _) => Some(format!("{} ended with {code}", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, Exit};
    use crate::steps::Counts;

    const SAID: &str = "[    0.1] Linux\r\nWEIR-BEGIN 6.1.0-56-cloud-amd64\r\ntest a ... ok\r\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\r\n\r\n\
        WEIR-EXIT 0 00-loader\r\n\r\nWEIR-EXIT 101 01-other\r\n\r\nWEIR-END\r\n";

    #[test]
    fn marks_are_read_however_the_bytes_are_cut() {
        for size in [1, 7, SAID.len()] {
            let mut console = Console::default();
            for piece in SAID.as_bytes().chunks(size) {
                console.take(piece);
            }
            assert_eq!(console.release.as_deref(), Some("6.1.0-56-cloud-amd64"));
            let exit = |name: &str, code, passed| {
                let counts = Counts { passed, failed: 0 };
                Exit { name: name.to_owned(), code, counts }
            };
            assert_eq!(console.exits, [exit("00-loader", 0, 3), exit("01-other", 101, 0)]);
            assert_eq!(console.counts(), Counts { passed: 3, failed: 0 });
            assert!(console.ended);
            assert_eq!(console.failures(), "01-other ended with 101");
        }
    }

    #[test]
    fn a_machine_that_stops_has_not_ended() {
        let mut console = Console::default();
        console.take(b"WEIR-BEGIN 6.1.0\nWEIR-EXIT 0 00-loader\nKernel panic\n");
        assert!(!console.ended);
        assert_eq!(console.failures(), "00-loader passed no test");
    }

    #[test]
    fn what_only_resembles_a_mark_is_none() {
        let mut console = Console::default();
        console.take(b" WEIR-END\nWEIR-ENDING\nWEIR-EXIT\nWEIR-EXIT x y\nWEIR-EXIT 1\n");
        assert_eq!(console, Console::default());
    }
}
