//! The emulated machine: how it is started, shown while it speaks, and stopped.
//!
//! It has two processors, memory and a serial line; no disk, no network, nothing of the machine around it. It always ends: by
//! itself, by a panic, which it does not survive, because its time is over, or because this process ends.
//!
//! Not here: what is in its root, and what the lines mean that it says.

use super::console::Console;
use super::{KERNEL, Trouble};
use crate::checkout::{Checkout, line};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long an emulator may take to end once its console is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a machine went down.
enum Ending {
    ByItself,
    OutOfTime,
}

/// Boots the kernel with that root and waits until the machine is off, at most for `bound`.
pub(super) fn start(
    checkout: &Checkout,
    emulator: &Path,
    kernel: &Path,
    initramfs: &Path,
    bound: Duration,
) -> Result<Console, Trouble> {
    let mut command = command(checkout, emulator, kernel, initramfs);
    println!("$ {}", line(&command));
    let told = |error: io::Error| Trouble::Machine(format!("{}: {error}", emulator.display()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(told)?;
    let mut console = Console::default();
    let watched = watch(&mut child, &mut console, bound);
    let status = stop(&mut child, matches!(watched, Ok(Ending::ByItself))).map_err(told)?;
    let ending = match watched.map_err(told)? {
        Ending::ByItself => format!("it went down by itself, and the emulator ended with {status}"),
        Ending::OutOfTime => format!("it was stopped after {} s", bound.as_secs()),
    };
    ended(console, &ending).map_err(Trouble::Machine)
}

/// The console of a machine that came up with the right kernel and came to its end.
fn ended(console: Console, ending: &str) -> Result<Console, String> {
    let Some(release) = &console.release else {
        return Err(format!("the machine did not come up: {ending}"));
    };
    let rest = release.strip_prefix(KERNEL);
    if rest.is_none_or(|rest| rest.starts_with(|next: char| next.is_ascii_digit())) {
        return Err(format!("the machine runs Linux {release}, and {KERNEL} is wanted"));
    }
    if console.ended { Ok(console) } else { Err(format!("the tests did not come to their end: {ending}")) }
}

/// Makes sure that the emulator has ended. One whose console is closed is about to; any other is stopped at once.
fn stop(child: &mut Child, is_ending: bool) -> io::Result<ExitStatus> {
    let start = Instant::now();
    while is_ending && start.elapsed() < FAREWELL {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    // It may have gone down in the meantime, and then there is nothing to stop.
    let _ = child.kill();
    child.wait()
}

fn command(checkout: &Checkout, emulator: &Path, kernel: &Path, initramfs: &Path) -> Command {
    // Nobody shall have to look for a machine that lost the process which watched it.
    let mut command = checkout.command("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(emulator);
    // No device but the serial line, so that the firmware has nothing to say either.
    command
        .args(["-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]);
    command.args(["-no-reboot", "-m", "1024", "-smp", "2", "-cpu", "max"]);
    // The first that works is taken.
    command.args(accelerators().iter().flat_map(|name| ["-accel", name]));
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    // With -no-reboot, a kernel that reboots when it panics ends the emulator at once. On a busy host an emulated processor stands
    // still for longer than the watchdog believes.
    command.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic nowatchdog"]);
    command
}

/// Shows what the machine says, byte by byte, until its console closes or its time is over.
fn watch(child: &mut Child, console: &mut Console, bound: Duration) -> io::Result<Ending> {
    let start = Instant::now();
    let serial = child.stdout.take().ok_or_else(|| io::Error::other("there is no console"))?;
    let said = listen(serial);
    let mut screen = io::stdout().lock();
    let ending = loop {
        match said.recv_timeout(bound.saturating_sub(start.elapsed())) {
            Ok(mut bytes) => {
                bytes.retain(|byte| *byte != b'\r');
                screen.write_all(&bytes)?;
                screen.flush()?;
                console.take(&bytes);
            }
            Err(RecvTimeoutError::Disconnected) => break Ending::ByItself,
            Err(RecvTimeoutError::Timeout) => break Ending::OutOfTime,
        }
    };
    // A machine that was stopped may have stood in the middle of a line.
    writeln!(screen)?;
    Ok(ending)
}

/// What comes from the console. The thread ends with the console.
fn listen(mut serial: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match serial.read(&mut buffer) {
                Ok(length @ 1..) if sender.send(buffer[..length].to_vec()).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
    });
    receiver
}

/// The processor's own help where it has some and this person may use it. A machine that is emulated itself may offer the
/// device without the processor, and then no ordinary kernel comes up on it.
fn accelerators() -> &'static [&'static str] {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let helps = processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let allowed = || OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if helps && allowed() { &["kvm", "tcg"] } else { &["tcg"] }
}

#[cfg(test)]
mod tests {
    use super::{Console, ended};

    fn told(text: &str) -> Result<(), String> {
        let mut console = Console::default();
        console.take(text.as_bytes());
        ended(console, "it was stopped").map(|_| ())
    }

    #[test]
    fn a_machine_that_falls_over_has_not_finished() {
        assert_eq!(told("WEIR-BEGIN 6.1.0-56-cloud-amd64\nWEIR-END\n"), Ok(()));
        for (text, words) in [
            ("Kernel panic - not syncing\n", "did not come up: it was stopped"),
            ("WEIR-BEGIN 6.1.0\nWEIR-EXIT 0 a\n", "did not come to their end: it was stopped"),
        ] {
            let failure = told(text).unwrap_err();
            assert!(failure.contains(words), "{failure}");
        }
    }

    #[test]
    fn another_kernel_is_refused() {
        for release in ["6.12.9-amd64", "6.10.0", "5.15.0"] {
            let failure = told(&format!("WEIR-BEGIN {release}\nWEIR-END\n")).unwrap_err();
            assert!(failure.contains("6.1 is wanted"), "{failure}");
        }
    }
}
