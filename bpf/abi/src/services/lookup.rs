//! One packet's way through a service image: the second voice. The kernel's programs answer the same in C.

use super::image::{Backend, Frontend, Scope, ServiceImage};
use super::layout::{Choice, FrontendKind};
use super::{address_bytes, displaced, flow_hash, key_hash, reduce};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a packet asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its destination.
    pub address: IpAddr,
    /// Its destination port.
    pub port: u16,
    /// Its IP protocol.
    pub protocol: u8,
    /// Where it comes from.
    pub scope: Scope,
    /// Its source.
    pub client: IpAddr,
    /// Its source port.
    pub client_port: u16,
}

/// Where a flow goes, and why.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What came of it.
    pub choice: Choice,
    /// The frontend that the packet met.
    pub frontend: Option<Frontend<'a>>,
    /// Where a new flow goes.
    pub backend: Option<Backend>,
    /// Where a flow goes that was there before and is on no record; `None`: the slot is settled, and `backend` has every flow.
    pub previous: Option<Backend>,
}

/// A slot that a flow hashes to.
#[derive(Clone, Copy, Debug)]
pub struct FlowSlot {
    /// The table's number.
    pub table: u32,
    /// The slot's.
    pub slot: u32,
    /// Its present backend.
    pub present: Backend,
    /// Whether flows may be on record with another.
    pub is_unsettled: bool,
}

impl<'a> ServiceImage<'a> {
    /// The frontend of exactly this address, port and protocol.
    pub fn find(&self, address: IpAddr, port: u16, protocol: u8) -> Option<Frontend<'a>> {
        let address = address_bytes(address);
        let hash = key_hash(self.header.seed, address, port, protocol);
        let group = (hash as u32) & self.header.groups.wrapping_sub(1);
        let displacement = *self.displacements.get(group as usize)?;
        let position = reduce(displaced(hash, displacement), self.header.positions);
        let record = self.frontends.get(position as usize)?;
        let is_it = record.address == address && record.port == port && record.protocol == protocol;
        if is_it { self.frontend(record) } else { None }
    }

    /// The frontend that a packet meets: its own address and port, or a port of this node, from inside of any.
    fn meet(&self, question: &Question) -> Result<Frontend<'a>, Choice> {
        let Question { address, port, protocol, scope, .. } = *question;
        if address.is_unspecified() || protocol == 0 {
            return Err(Choice::NoService);
        }
        if let Some(found) = self.find(address, port, protocol) {
            return Ok(found);
        }
        let kind = self.find(address, 0, 0).map(|found| found.kind);
        match kind {
            Some(FrontendKind::NodeAddress | FrontendKind::PeerAddress)
                if scope == Scope::Internal || kind == Some(FrontendKind::NodeAddress) =>
            {
                self.find_node_port(address, port, protocol).ok_or(Choice::NoService)
            }
            Some(FrontendKind::Address) if scope == Scope::External => Err(Choice::UnknownPort),
            _ => Err(Choice::NoService),
        }
    }

    /// The port of nodes in the family of an address.
    fn find_node_port(&self, address: IpAddr, port: u16, protocol: u8) -> Option<Frontend<'a>> {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.find(any, port, protocol)
    }

    /// The slots that a flow hashes to. There may be one for each scope, for who only knows the flow does not know where it comes from: it may
    /// be from inside, at a port of any node, or from a socket of the node itself, at its loopback.
    pub fn slots_of(&self, flow: &Question) -> impl Iterator<Item = FlowSlot> + use<'a> {
        let image = *self;
        let [address, client] = [flow.address, flow.client].map(|address| address.to_canonical());
        let (client_port, port, protocol) = (flow.client_port, flow.port, flow.protocol);
        let found = if address.is_loopback() || address.is_unspecified() {
            image.find_node_port(address, port, protocol)
        } else {
            image.meet(&Question { address, scope: Scope::Internal, ..*flow }).ok()
        };
        [Scope::External, Scope::Internal].into_iter().filter_map(move |scope| {
            let frontend = found?;
            let (number, table) = frontend.table(scope)?;
            let client_port = if frontend.affinity().is_some() { 0 } else { client_port };
            let [client, address] = [client, address].map(address_bytes);
            let slot = table.slot_of(flow_hash(client, client_port, address, port, protocol));
            let (backend, is_unsettled) = table.slot(slot)?;
            let present = image.backend_at(frontend.record.backends, backend)?;
            Some(FlowSlot { table: number, slot, present, is_unsettled })
        })
    }

    /// Answers for one packet.
    pub fn ask(&self, question: &Question) -> Answer<'a> {
        let refused = |choice, frontend| Answer { choice, frontend, backend: None, previous: None };
        let canonical = |address: IpAddr| address.to_canonical();
        let question = &Question {
            address: canonical(question.address),
            client: canonical(question.client),
            ..*question
        };
        let frontend = match self.meet(question) {
            Ok(frontend) => frontend,
            Err(choice) => return refused(choice, None),
        };
        let client = address_bytes(question.client);
        if question.scope == Scope::External && frontend.refuses(client) {
            return refused(Choice::SourceRefused, Some(frontend));
        }
        let choice = frontend.choice(question.scope);
        let Some((_, table)) = frontend.table(question.scope) else {
            return refused(choice, Some(frontend));
        };
        let client_port = if frontend.affinity().is_some() { 0 } else { question.client_port };
        let address = address_bytes(question.address);
        let hash = flow_hash(client, client_port, address, question.port, question.protocol);
        let backend = |number| self.backend_at(frontend.record.backends, number);
        let slot = table.slot(table.slot_of(hash));
        let found = slot.and_then(|(number, unsettled)| {
            let previous = if unsettled { table.previous(hash).and_then(backend) } else { None };
            Some((backend(number)?, previous))
        });
        let Some((present, previous)) = found else {
            // Never for a checked image.
            return refused(Choice::NoBackend, Some(frontend));
        };
        let backend = (choice == Choice::Backend).then_some(present);
        Answer { choice, frontend: Some(frontend), backend, previous }
    }
}
