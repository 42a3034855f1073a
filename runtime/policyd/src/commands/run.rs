//! `policyd run`: the daemon, until a signal ends it. Enforcement stays.

use super::Outcome;
use crate::args::RunArgs;
use crate::config::{Configured, ConfiguredBalancing, configured, overlapping_ports, root_of_cgroups};
use anyhow::{Context, bail};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use weir_runtime::balancer::Balancer;
use weir_runtime::balancing::Means;
use weir_runtime::daemon::{self, Settings};
use weir_runtime::datapath::{Datapath, KernelBalancer, remove_balancing};
use weir_runtime::enforcer::Enforcer;

/// The command.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<Outcome> {
    let Configured { source, node, state, socket, options, balancing } = configured(args)?;
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
        let balancing = balancing.map(means);
        let balances = balancing.is_some();
        let settings = Settings { source, node, state, socket, balancing };
        let open = move || {
            let datapath = Datapath::open(&options)?;
            // The pins are this process's now. What is left of balancing is no reason to enforce no policy.
            if !balances && let Err(error) = remove_balancing(&options.pin_root) {
                warn!("cannot take out of the way what an earlier run balanced: {error:#}");
            }
            Ok(Box::new(datapath) as Box<dyn Enforcer>)
        };
        daemon::run(settings, open, stop).await?;
        Ok(Outcome::Fine)
    })
}

/// What balances, and how. What does not fit this host is told.
fn means(configured: ConfiguredBalancing) -> Means {
    let ConfiguredBalancing { mut settings, mut options } = configured;
    if settings.sockets && options.cgroup.is_none() {
        options.cgroup = root_of_cgroups();
        settings.sockets = options.cgroup.is_some();
        if !settings.sockets {
            warn!(
                "no cgroup2 file system is mounted: sockets of this node are not balanced where they connect"
            );
        }
    }
    if let Some(local) = overlapping_ports(&options.ports) {
        warn!(
            "the node's own sockets take ports {} to {} (net.ipv4.ip_local_port_range), and source NAT takes {} to {}: replies to one may go to the other",
            local.start(),
            local.end(),
            options.ports.start(),
            options.ports.end()
        );
    }
    let pin_root = options.pin_root.clone();
    let open = Arc::new(move || Ok(Box::new(KernelBalancer::open(&options)?) as Box<dyn Balancer>));
    Means { settings, open, clear: Arc::new(move || remove_balancing(&pin_root)) }
}
