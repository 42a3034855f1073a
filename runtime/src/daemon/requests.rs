//! What clients ask for.

use super::{Daemon, Done};
use crate::control::server::Asked;
use crate::control::{MAX_FLOWS, Request, Response};
use crate::inquiry::Inquiry;
use crate::registrations::RegistrationError;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::info;

/// Who waits for an answer.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// For a pod's policy to be enforced.
    registered: Vec<(String, oneshot::Sender<Response>)>,
    /// For the kernel's counters.
    status: Vec<oneshot::Sender<Response>>,
    counters: Vec<oneshot::Sender<Response>>,
}

impl Daemon {
    pub(super) fn answer(&mut self, asked: Asked) {
        let Asked { request, reply } = asked;
        match request {
            Request::Status => {
                self.waiting.status.push(reply);
                self.measure();
            }
            Request::Counters => {
                self.waiting.counters.push(reply);
                self.measure();
            }
            Request::Register { pod, interface } => match self.register(&pod, &interface) {
                Ok(()) => {
                    info!(pod, interface, "a pod is registered");
                    self.waiting.registered.push((pod, reply));
                    self.converge();
                    if self.target.is_none() || self.interfaces.is_none() || self.believed.is_none() {
                        self.settled();
                    }
                }
                Err(error) => say(reply, Response::Error(error.to_string())),
            },
            Request::Unregister { pod } => match self.registrations.unregister(&pod) {
                Ok(interface) => {
                    let known = interface.is_some();
                    info!(pod, known, "a pod is unregistered");
                    // Whoever registered it says that the interface is no pod's any more; only that opens one that is still there.
                    self.released.extend(interface.and_then(|name| self.interfaces.as_ref()?.named(&name)));
                    say(reply, Response::Unregistered { known });
                    self.converge();
                }
                Err(error) => say(reply, Response::Error(error.to_string())),
            },
            Request::Ask { flows } => self.ask(flows, reply),
            Request::Monitor { .. } => {
                say(reply, Response::Error("events come from the observer".to_owned()));
            }
        }
    }

    /// Registers an interface, but for one of the node's own: programs there would cut the node off.
    fn register(&mut self, pod: &str, interface: &str) -> Result<(), RegistrationError> {
        let known = self.interfaces.as_ref();
        let link = known.and_then(|known| known.links.get(&known.named(interface)?));
        if link.is_some_and(|link| link.is_of_node && !link.is_veth) {
            return Err(RegistrationError::OfNode { name: interface.to_owned() });
        }
        self.registrations.register(pod, interface)
    }

    fn ask(&mut self, flows: Vec<String>, reply: oneshot::Sender<Response>) {
        if flows.len() > MAX_FLOWS {
            return say(reply, Response::Error(format!("at most {MAX_FLOWS} flows in one request")));
        }
        let (Some(target), Some(cluster)) = (&self.target, &self.cluster) else {
            return say(reply, Response::Error("there is no good image yet".to_owned()));
        };
        let interfaces = self.wanted.placements.iter();
        let inquiry = Inquiry {
            cluster: Arc::clone(cluster),
            image: Arc::clone(&target.image),
            node: self.settings.node.clone(),
            interfaces: interfaces.map(|(&index, placement)| (placement.pod.clone(), index)).collect(),
        };
        let kernel = self.kernel.clone();
        self.work.spawn(async move {
            match kernel.call(move |enforcer| inquiry.answer(enforcer, &flows)).await {
                Ok(answers) => {
                    say(reply, Response::Answers(answers));
                    Done::Answered
                }
                Err(_) => Done::KernelGone,
            }
        });
    }

    /// Tells those who wait for a pod's policy whether it is enforced now.
    pub(super) fn answer_waiting(&mut self) {
        for (pod, reply) in std::mem::take(&mut self.waiting.registered) {
            let why = self.why_not_enforced(&pod);
            say(reply, Response::Registered { enforced: why.is_none(), why });
        }
    }

    fn why_not_enforced(&self, pod: &str) -> Option<String> {
        if self.target.is_none() {
            return Some("there is no good image yet".to_owned());
        }
        let placed = self.wanted.placements.iter().find(|(_, placement)| placement.pod == pod);
        let Some((index, _)) = placed else {
            return Some("no such pod or interface is known on this node yet".to_owned());
        };
        let stands = self.believed.as_ref().is_some_and(|state| state.attached.contains(index));
        let failed = || self.failures.first().cloned();
        if stands { None } else { Some(failed().unwrap_or_else(|| "it is not attached yet".to_owned())) }
    }

    /// Tells those who wait for the kernel's counters.
    pub(super) fn answer_measured(&mut self) {
        for reply in std::mem::take(&mut self.waiting.status) {
            let status = self.status();
            say(reply, Response::Status(Box::new(status)));
        }
        for reply in std::mem::take(&mut self.waiting.counters) {
            say(reply, Response::Counters(self.tally.counts()));
        }
    }
}

fn say(reply: oneshot::Sender<Response>, response: Response) {
    // Whoever asked may have gone.
    _ = reply.send(response);
}
