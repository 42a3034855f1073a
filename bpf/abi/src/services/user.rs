//! The user part: names of services, ports and nodes, and what the image was compiled for.

use super::image::{Frontend, ServiceImage};
use super::layout::ServiceRecord;
use crate::layout::Text;

/// A service, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceEntry<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The file it is in.
    pub file: &'a str,
    /// Line from 1.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
    /// `healthCheckNodePort`.
    pub health_check_port: Option<u16>,
}

/// A frontend's service and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendPort<'a> {
    /// The service.
    pub service: ServiceEntry<'a>,
    /// The port's name; empty if it has none.
    pub name: &'a str,
}

impl<'a> ServiceImage<'a> {
    fn text(&self, text: Text) -> &'a str {
        let start = text.start as usize;
        self.strings.get(start..start.wrapping_add(text.len as usize)).unwrap_or_default()
    }

    fn entry(&self, record: &ServiceRecord) -> ServiceEntry<'a> {
        ServiceEntry {
            namespace: self.text(record.namespace),
            name: self.text(record.name),
            file: self.text(record.file),
            line: record.line,
            column: record.column,
            health_check_port: u16::try_from(record.health_check_port).ok().filter(|&port| port > 0),
        }
    }

    /// The services, sorted by namespace and name.
    pub fn services(&self) -> impl ExactSizeIterator<Item = ServiceEntry<'a>> {
        let image = *self;
        self.services.iter().map(move |record| image.entry(record))
    }

    /// The name of a node by its number.
    pub fn node(&self, number: u32) -> Option<&'a str> {
        self.nodes.get(number as usize).map(|&name| self.text(name))
    }

    /// Named facts: what the image was compiled for.
    pub fn facts(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        let image = *self;
        self.facts.iter().map(move |fact| (image.text(fact.key), image.text(fact.value)))
    }
}

impl<'a> Frontend<'a> {
    /// Its service and port; `None` for an address as a whole.
    pub fn of(&self) -> Option<FrontendPort<'a>> {
        let port = self.image.ports.get(self.number() as usize)?;
        let service = self.image.services.get(port.service as usize)?;
        Some(FrontendPort { service: self.image.entry(service), name: self.image.text(port.name) })
    }
}
