//! Flows asked of the kernel's programs, through what stands at the pods' interfaces of this node.
//!
//! Each side that this node enforces is one question. What a proxy would say of a request the image tells, for the kernel only
//! redirects. A pod elsewhere is judged by its own node, and says so.
//!
//! Not here: the questions' packets ([`crate::datapath`]), flows as text (`weir_compiler::flow`).

use crate::control::Answered;
use crate::datapath::{Answer, Question};
use crate::enforcer::Enforcer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use weir_abi::state::Hook;
use weir_abi::{Action, Image, Reason};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{self, Engine, Flow, Side};
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::Direction;
use weir_grammar::span::FileId;

const ICMPV6: u8 = 58;

/// What is known where flows are asked.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The cluster that flows name pods of.
    pub cluster: Arc<Cluster>,
    /// The image in force.
    pub image: Arc<[u8]>,
    /// This node.
    pub node: String,
    /// Interfaces of pods, by `namespace/pod`.
    pub interfaces: BTreeMap<String, u32>,
}

impl Inquiry {
    /// Asks, and gives an answer for each flow, in order.
    pub fn answer(&self, enforcer: &dyn Enforcer, flows: &[String]) -> Vec<Answered> {
        let image = match Image::open(&self.image) {
            Ok(image) => image,
            Err(error) => {
                return flows.iter().map(|_| Answered::Finding(error.to_string())).collect();
            }
        };
        let engine = KernelEngine {
            inquiry: self,
            enforcer,
            image,
            interpreter: Interpreter::new(image, &self.cluster, None),
            home: self.cluster.node_named(&self.node),
            failure: RefCell::default(),
        };
        flows.iter().map(|line| engine.answer(line)).collect()
    }
}

/// The kernel as an engine, on behalf of one node.
struct KernelEngine<'a> {
    inquiry: &'a Inquiry,
    enforcer: &'a dyn Enforcer,
    image: Image<'a>,
    interpreter: Interpreter<'a>,
    home: Option<usize>,
    /// Why the flow at hand could not be asked.
    failure: RefCell<Option<String>>,
}

/// Said of what this node's programs do not decide.
const ELSEWHERE: Side = Side { reason: Reason::EnforcedElsewhere, ..Side::NO_POLICY };

impl KernelEngine<'_> {
    fn answer(&self, line: &str) -> Answered {
        let flow = match flow::read_line(FileId(0), 0, line, &self.inquiry.cluster) {
            Ok(Some(flow)) => flow,
            Ok(None) => return Answered::Finding("this is not a flow: the line is empty".to_owned()),
            Err(finding) => return Answered::Finding(finding.message.clone()),
        };
        if !flow.fqdn.is_empty() {
            let told = "`fqdn` cannot be asked here: the kernel knows the names that it was told";
            return Answered::Finding(told.to_owned());
        }
        let mut line = Vec::new();
        let written = weir_project::answer(self, std::slice::from_ref(&flow), &self.image, &mut line);
        match (self.failure.take(), written, String::from_utf8(line)) {
            (Some(failure), ..) => Answered::Finding(failure),
            (None, Ok(()), Ok(line)) => Answered::Line(line.trim_end().to_owned()),
            (None, Err(error), _) => Answered::Finding(error.to_string()),
            (None, _, Err(error)) => Answered::Finding(error.to_string()),
        }
    }

    fn question(&self, flow: &Flow, direction: Direction) -> Result<Question, String> {
        let cluster = &self.inquiry.cluster;
        let (subject, _) = flow.subject_and_peer(direction);
        let name = cluster.name(subject);
        let interface = self.inquiry.interfaces.get(&name).copied();
        let interface = interface.ok_or_else(|| format!("pod {name} has no known interface on this node"))?;
        let addresses = |party: Party| match party {
            Party::Pod(place) => cluster.pods.get(place).map(|pod| pod.addresses.clone()),
            Party::Node(place) => cluster.nodes.get(place).map(|node| node.addresses.clone()),
            Party::Outside(address) => Some(vec![address]),
        };
        let sources = addresses(flow.source).unwrap_or_default();
        let destinations = addresses(flow.destination).unwrap_or_default();
        let pair = |is_v4: bool| {
            let first = |list: &[IpAddr]| list.iter().copied().find(|address| address.is_ipv4() == is_v4);
            Some((first(&sources)?, first(&destinations)?))
        };
        let prefers_v4 = flow.protocol != ICMPV6;
        let (source, destination) = pair(prefers_v4)
            .or_else(|| pair(!prefers_v4))
            .ok_or_else(|| "the two ends have no address of one family".to_owned())?;
        let hook = match direction {
            Direction::Egress => Hook::FromPod,
            Direction::Ingress => Hook::ToPod,
        };
        Ok(Question { hook, interface, source, destination, protocol: flow.protocol, port: flow.port })
    }
}

/// An answer as a side. The kernel only hands a connection to the proxy: whether that lets the request pass is the image's to say, and
/// which rule then admits it, as far as that rule is among those that the kernel handed on.
pub(crate) fn side_of(
    image: &Image<'_>,
    interpreter: &Interpreter<'_>,
    answer: &Answer,
    flow: &Flow,
    direction: Direction,
) -> Side {
    let Answer { action, reason, rule_or_set, .. } = *answer;
    let side = Side { action, reason, rule: rule_or_set, passes: None };
    if action != Action::Redirect {
        return side;
    }
    let set = rule_or_set.and_then(|set| image.request_set(set));
    let told = interpreter.side(flow, direction);
    let handed_on = set.iter().flat_map(|set| set.rules().map(|rule| rule.rule()).chain([set.rule]));
    let admitting = told.rule.filter(|&rule| handed_on.into_iter().any(|handed_on| handed_on == rule));
    Side { rule: admitting.or(set.map(|set| set.rule)), passes: told.passes, ..side }
}

impl Engine for KernelEngine<'_> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, _) = flow.subject_and_peer(direction);
        match subject {
            Party::Outside(_) => return Side::NO_POLICY,
            Party::Node(_) => return ELSEWHERE,
            Party::Pod(_) if self.home.is_none() || self.inquiry.cluster.home(subject) != self.home => {
                return ELSEWHERE;
            }
            Party::Pod(_) => {}
        }
        let asked = self
            .question(flow, direction)
            .and_then(|question| self.enforcer.ask(&question).map_err(|error| error.to_string()));
        match asked {
            Ok(answer) => side_of(&self.image, &self.interpreter, &answer, flow, direction),
            Err(failure) => {
                self.failure.replace(Some(failure));
                ELSEWHERE
            }
        }
    }
}
