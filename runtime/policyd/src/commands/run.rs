//! `policyd run`: the daemon, until a signal ends it. Enforcement stays.

use super::Outcome;
use crate::args::RunArgs;
use crate::config::{Configured, configured};
use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_runtime::daemon;
use weir_runtime::datapath::Datapath;
use weir_runtime::enforcer::Enforcer;

/// The command.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    let Configured { settings, options } = configured(args)?;
    if !nix::unistd::geteuid().is_root() {
        bail!("policyd run needs root: it loads programs into the kernel");
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colors = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colors).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot begin threads")?.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        let stop = async {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        let open = move || Ok(Box::new(Datapath::open(&options)?) as Box<dyn Enforcer>);
        daemon::run(settings, open, stop).await?;
        Ok(Outcome::Fine)
    })
}
