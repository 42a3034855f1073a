//! Who is who in the kernel: whose an address is, and which pod is behind an interface.
//!
//! An address that leads nowhere is outside of the cluster. An interface that leads nowhere lets nothing pass where the programs
//! stand. Not here: where the programs stand ([`super::attach`]).

use super::{Datapath, DatapathError, Endpoint};
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::Identity;
use weir_abi::state::{AddressRecord, InterfaceRecord, Settings};

impl Datapath {
    /// Lets an address of the cluster lead to an identity.
    ///
    /// # Errors
    /// The map, if it is full for example.
    pub fn set_address(&mut self, address: IpAddr, identity: Identity) -> Result<(), DatapathError> {
        let record = AddressRecord { identity: identity.0 };
        match address {
            IpAddr::V4(address) => self.tables.addresses_v4.set(&address.octets(), &record),
            IpAddr::V6(address) => self.tables.addresses_v6.set(&address.octets(), &record),
        }
    }

    /// Lets an address lead nowhere: from then on it is outside.
    ///
    /// # Errors
    /// The map.
    pub fn remove_address(&mut self, address: IpAddr) -> Result<(), DatapathError> {
        match address {
            IpAddr::V4(address) => self.tables.addresses_v4.remove(&address.octets()).map(drop),
            IpAddr::V6(address) => self.tables.addresses_v6.remove(&address.octets()).map(drop),
        }
    }

    /// Has known connections judged again, after an address or interface changed hands.
    pub fn judge_again(&mut self) {
        let epoch = self.settings.load(offset_of!(Settings, epoch));
        self.settings.store(offset_of!(Settings, epoch), epoch.wrapping_add(1));
    }

    /// Says which pod is behind an interface.
    ///
    /// # Errors
    /// The map, if it is full for example: then the interface lets nothing pass.
    pub fn set_endpoint(&mut self, interface: u32, endpoint: &Endpoint) -> Result<(), DatapathError> {
        let record = InterfaceRecord {
            identity: endpoint.identity.0,
            v4: endpoint.v4.map_or([0; 4], |address| address.octets()),
            v6: endpoint.v6.map_or([0; 16], |address| address.octets()),
        };
        self.tables.interfaces.set(&interface, &record)
    }

    /// Forgets an interface: programs that stand there let nothing pass.
    ///
    /// # Errors
    /// The map.
    pub fn remove_endpoint(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.tables.interfaces.remove(&interface).map(drop)
    }

    /// Whose addresses are, as the kernel has it.
    ///
    /// # Errors
    /// The maps.
    pub fn addresses(&self) -> Result<BTreeMap<IpAddr, Identity>, DatapathError> {
        let v4 = self.tables.addresses_v4.entries()?.into_iter();
        let v6 = self.tables.addresses_v6.entries()?.into_iter();
        let v4 = v4.map(|(key, record)| (IpAddr::from(key), Identity(record.identity)));
        let v6 = v6.map(|(key, record)| (IpAddr::from(key), Identity(record.identity)));
        Ok(v4.chain(v6).collect())
    }

    /// Which pods are behind interfaces, as the kernel has it.
    ///
    /// # Errors
    /// The map.
    pub fn endpoints(&self) -> Result<BTreeMap<u32, Endpoint>, DatapathError> {
        let endpoint = |record: InterfaceRecord| Endpoint {
            identity: Identity(record.identity),
            v4: Some(Ipv4Addr::from(record.v4)).filter(|address| !address.is_unspecified()),
            v6: Some(Ipv6Addr::from(record.v6)).filter(|address| !address.is_unspecified()),
        };
        let entries = self.tables.interfaces.entries()?.into_iter();
        Ok(entries.map(|(interface, record)| (interface, endpoint(record))).collect())
    }
}
