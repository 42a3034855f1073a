//! `policyd` on a node of the lab: the real binary, in the node's namespaces, watching a folder that the test writes to.
//!
//! Every wait ends, and where what is waited for does not come, the daemon's status and log are told. What it put in the kernel stays
//! when it is killed, and goes with the node.

use super::binary::built;
use super::{Lab, Place};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_runtime::control::client::Client;
use weir_runtime::control::{Request, Response};
use weir_runtime::event::Event;
use weir_runtime::status::{BalancingStatus, Status};

/// How long something may take to come true: a 1M-prefix list is read, compiled by an unoptimised build and installed in it.
const PATIENCE: Duration = Duration::from_secs(90);
const CONFIG: &str = "policyd.yaml";
const SOCKET: &str = "/run/weir/policyd.sock";

/// A running daemon.
#[derive(Debug)]
pub struct Policyd<'a> {
    place: &'a Place,
    source: TempDir,
    arguments: Vec<String>,
    process: Child,
}

impl<'a> Policyd<'a> {
    /// Starts it on a node, with the lab's cluster and these policies, and waits until they are in force at all of the node's pods.
    ///
    /// # Errors
    /// It does not come that far.
    pub fn start(lab: &'a Lab, node: &str, policies: &str) -> io::Result<Policyd<'a>> {
        Policyd::start_with(lab, node, policies, "{}")
    }

    /// The same, with a configuration file.
    ///
    /// # Errors
    /// It does not come that far.
    pub fn start_with(lab: &'a Lab, node: &str, policies: &str, config: &str) -> io::Result<Policyd<'a>> {
        let daemon = Policyd::begin(lab, node, policies, config)?;
        daemon.until("policies in force at every pod", |status| status.problems.is_empty())?;
        Ok(daemon)
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn begin(lab: &'a Lab, node: &str, policies: &str, config: &str) -> io::Result<Policyd<'a>> {
        Policyd::begin_with_files(lab, node, &[("policies.yaml", policies)], config)
    }

    /// The same with policies in several files, and whatever else the cluster has.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn begin_with_files(
        lab: &'a Lab,
        node: &str,
        files: &[(&str, &str)],
        config: &str,
    ) -> io::Result<Policyd<'a>> {
        let cluster = lab.cluster_yaml();
        let files = [&[("cluster.yaml", cluster.as_str())], files].concat();
        Policyd::spawn_in(lab.node(node), &files, config, &[&format!("--node={node}")])
    }

    /// Starts it on a machine that is no node of any cluster, with these files and no other, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn begin_alone(machine: &'a Place, files: &[(&str, &str)], config: &str) -> io::Result<Policyd<'a>> {
        Policyd::spawn_in(machine, files, config, &[])
    }

    fn spawn_in(
        place: &'a Place,
        files: &[(&str, &str)],
        config: &str,
        more: &[&str],
    ) -> io::Result<Policyd<'a>> {
        let source = tempfile::tempdir()?;
        fs::create_dir(source.path().join("source"))?;
        for (name, text) in files {
            write(&source.path().join("source").join(name), text)?;
        }
        let directory = source.path().join("source");
        let path = source.path().join(CONFIG);
        write(&path, config)?;
        let mut arguments = vec![
            "run".to_owned(),
            format!("--config={}", path.display()),
            format!("--source=dir:{}", directory.display()),
        ];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let process = spawn(place, &arguments, &source.path().join("log"))?;
        Ok(Policyd { place, source, arguments, process })
    }

    /// Changes the policies, and returns at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_policies(&self, policies: &str) -> io::Result<()> {
        self.write_file("policies.yaml", policies)
    }

    /// Changes a file, and returns at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_file(&self, name: &str, text: &str) -> io::Result<()> {
        write(&self.source().join(name), text)
    }

    /// The folder that it watches.
    pub fn source(&self) -> PathBuf {
        self.source.path().join("source")
    }

    /// Changes the policies and waits until another image is in force.
    ///
    /// # Errors
    /// None comes.
    pub fn change_policies(&self, policies: &str) -> io::Result<Status> {
        let before = self.image()?;
        self.write_policies(policies)?;
        self.until("another image", |status| {
            let now = status.image.as_ref().map(|image| &image.checksum);
            now.is_some() && now != before.as_ref() && status.problems.is_empty()
        })
    }

    /// The checksum of the image in force.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn image(&self) -> io::Result<Option<String>> {
        Ok(self.status()?.image.map(|image| image.checksum))
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> io::Result<Status> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// The checksum of the service image in force, once a source has said so and nothing is wrong with it.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn service_image(&self) -> io::Result<Option<String>> {
        Ok(service_image(&self.status()?))
    }

    /// Waits until services are in force, other ones than with the image before if there was one.
    ///
    /// # Errors
    /// They do not come.
    pub fn until_services(&self, before: Option<&String>) -> io::Result<Status> {
        self.until("services in force", |status| {
            let now = service_image(status);
            now.is_some() && now.as_ref() != before
        })
    }

    /// Waits until services are in force and balanced at the node's devices and so many pods. Before that a pod's packets leave as they are.
    ///
    /// # Errors
    /// That does not come.
    pub fn until_balanced(&self, pods: usize) -> io::Result<Status> {
        self.until(&format!("services balanced at {pods} pods"), |status| {
            let stands = |told: &BalancingStatus| told.pods == pods && !told.devices.is_empty();
            service_image(status).is_some() && status.balancing.as_ref().is_some_and(stands)
        })
    }

    /// How many services are in the image in force, if one is.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn services(&self) -> io::Result<Option<usize>> {
        Ok(services(&self.status()?))
    }

    /// Waits until so many services are in force.
    ///
    /// # Errors
    /// They do not come.
    pub fn until_so_many_services(&self, count: usize) -> io::Result<Status> {
        let is_so = |status: &Status| services(status) == Some(count) && service_image(status).is_some();
        self.until(&format!("{count} services in force"), is_so)
    }

    /// Asks it something.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn ask(&self, request: &Request) -> io::Result<Response> {
        let mut client = Client::connect(&self.place.path(SOCKET)).map_err(io::Error::other)?;
        client.ask(request).map_err(io::Error::other)
    }

    /// Waits until its status is as it should be.
    ///
    /// # Errors
    /// That does not come, or the daemon ends.
    pub fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> io::Result<Status> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if let Some(status) = status.as_ref().ok().filter(|status| is_so(status)) {
                return Ok(status.clone());
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("waited for {what}: {status:#?}\n{}", self.log())));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its events, those before included as far as it keeps them, so that it does not matter when it begins to listen.
    ///
    /// # Errors
    /// It does not answer.
    pub fn monitor(&self, arguments: &[&str]) -> io::Result<Monitor> {
        let mut command = self.place.command(program()?);
        command.args(["monitor", "-o", "json", "--last", "1024"]).args(arguments);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let (tell, events) = channel();
        if let Some(out) = process.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    let event = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
                    if tell.send(event).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Monitor { process, events })
    }

    /// Runs another command of the binary on the node: its exit code, stdout and stderr.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn command(&self, arguments: &[&str], stdin: &str) -> io::Result<(Option<i32>, String, String)> {
        command(self.place, arguments, stdin)
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Asks it to end, as a service manager would, and waits until it has.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(&mut self) -> io::Result<()> {
        let process = i32::try_from(self.process.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(process), Signal::SIGTERM)?;
        let end = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("it does not end\n{}", self.log())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Changes the configuration file, which it reads when it begins.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_config(&self, config: &str) -> io::Result<()> {
        write(&self.source.path().join(CONFIG), config)
    }

    /// Starts it again after its end, with the same arguments; waits for nothing.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn restart(&mut self) -> io::Result<()> {
        self.process = spawn(self.place, &self.arguments, &self.source.path().join("log"))?;
        Ok(())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.source.path().join("log")).unwrap_or_default()
    }
}

fn service_image(status: &Status) -> Option<String> {
    let balancing = status.balancing.as_ref().filter(|_| status.problems.is_empty())?;
    let image =
        balancing.image.as_ref().filter(|image| !image.is_restored && balancing.problems.is_empty())?;
    Some(image.checksum.clone())
}

fn services(status: &Status) -> Option<usize> {
    let contents = status.balancing.as_ref()?.image.as_ref()?.contents?;
    Some(contents.services)
}

impl Drop for Policyd<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Events as a `policyd monitor` prints them.
#[derive(Debug)]
pub struct Monitor {
    process: Child,
    events: Receiver<Result<Event, String>>,
}

impl Monitor {
    /// The next event that is of interest.
    ///
    /// # Errors
    /// None comes in five seconds, or what comes is no event.
    pub fn await_event(&self, is_it: impl Fn(&Event) -> bool) -> io::Result<Event> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut others = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Ok(event)) if is_it(&event) => return Ok(event),
                Ok(Ok(event)) => others.push(event.to_string()),
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => return Err(io::Error::other(format!("no such event among {others:#?}"))),
            }
        }
    }
}

impl Monitor {
    /// All events of interest up to now; those of the others are forgotten. It is over when none came for a while, many times what the
    /// daemon takes to read them.
    pub fn gather(&self, is_it: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut gathered = Vec::new();
        let end = Instant::now() + Duration::from_secs(10);
        while let Ok(event) = self.events.recv_timeout(Duration::from_millis(400)) {
            if Instant::now() > end {
                break;
            }
            gathered.extend(event.ok().filter(|event| is_it(event)));
        }
        gathered
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command of the binary in a place: its exit code, stdout and stderr.
///
/// # Errors
/// It cannot be run.
pub fn command(place: &Place, arguments: &[&str], stdin: &str) -> io::Result<(Option<i32>, String, String)> {
    let mut command = place.command(program()?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    if let Some(mut pipe) = process.stdin.take() {
        // A command that reads nothing may have ended; then it says why.
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let output = process.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

fn spawn(place: &Place, arguments: &[String], log: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    place.command(program()?).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}

/// Replaces a file in one step, as an editor or `kubectl` would.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unnamed = path.with_extension("new");
    fs::write(&unnamed, text)?;
    fs::rename(unnamed, path)
}

/// The binary.
///
/// # Errors
/// It cannot be built.
pub fn program() -> io::Result<PathBuf> {
    built("policyd", "policyd")
}
