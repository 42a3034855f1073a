//! Who is who in the kernel: whose an address is, and which pod is behind an interface.
//!
//! An address that leads nowhere is outside of the cluster; while any that should lead somewhere could not be set, it is unknown, which is
//! closed. An interface that leads nowhere lets nothing pass where the programs stand.
//!
//! Entries are changed where they are, and what was forgotten is read by nobody any more when another gets its memory: a hash map gives it on at
//! once, and a packet would be judged as somebody else's.
//!
//! A party has an identity in each slot of images. They are the same but during a swap, so that those who are another under the new
//! image become so in the moment it comes into force. Not here: where the programs stand ([`super::attach`]).

use super::slots::Slots;
use super::table::{Record, Table};
use super::{Datapath, DatapathError, Endpoint};
use crate::plan::Renaming;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use weir_abi::Identity;
use weir_abi::state::{AddressRecord, InterfaceRecord, Settings, block_of_v4, block_of_v6};

const MISSING: usize = offset_of!(Settings, addresses_missing);

impl Datapath {
    /// Lets an address of the cluster lead to an identity.
    ///
    /// # Errors
    /// The map, if it is full for example.
    pub fn set_address(&mut self, address: IpAddr, identity: Identity) -> Result<(), DatapathError> {
        let record = AddressRecord { identities: [identity.0; 2], ..AddressRecord::default() };
        self.mark_block(address);
        let set = self.wait_for_readers().and_then(|()| match address {
            IpAddr::V4(address) => self.tables.addresses_v4.set(&address.octets(), &record),
            IpAddr::V6(address) => self.tables.addresses_v6.set(&address.octets(), &record),
        });
        match set {
            Ok(()) => self.missing.remove(&address),
            Err(_) => self.missing.insert(address),
        };
        self.tell_missing();
        set
    }

    /// The memory of what was forgotten goes to whoever is set next: no packet may still read there who it was.
    fn wait_for_readers(&mut self) -> Result<(), DatapathError> {
        if self.has_forgotten {
            self.slots.wait_for_programs()?;
            self.has_forgotten = false;
        }
        Ok(())
    }

    /// Lets programs know whether addresses may be missing.
    fn tell_missing(&self) {
        if self.may_miss_more && self.missing.is_empty() {
            // As an earlier run left it.
            return;
        }
        self.settings.store(MISSING, self.missing.len() as u64);
    }

    /// All addresses of the cluster were told to this datapath, so none is missing but those that could not be set.
    pub fn all_addresses_told(&mut self) {
        self.may_miss_more = false;
        self.tell_missing();
    }

    /// Says that the cluster has an address in that block. First the block, then the address: in between it is outside, as before.
    fn mark_block(&self, address: IpAddr) {
        let block = match address {
            IpAddr::V4(address) => block_of_v4(address.octets()),
            IpAddr::V6(address) => block_of_v6(address.octets()),
        };
        self.blocks.set_bit(block as usize);
    }

    /// Lets an address lead nowhere: from then on it is outside.
    ///
    /// # Errors
    /// The map.
    pub fn remove_address(&mut self, address: IpAddr) -> Result<(), DatapathError> {
        self.has_forgotten = true;
        match address {
            IpAddr::V4(address) => self.tables.addresses_v4.remove(&address.octets())?,
            IpAddr::V6(address) => self.tables.addresses_v6.remove(&address.octets())?,
        };
        self.missing.remove(&address);
        self.tell_missing();
        Ok(())
    }

    /// Gives those of a renaming their new identity in the idle slot.
    pub(super) fn announce(&mut self, renaming: &Renaming) -> Result<(), DatapathError> {
        self.are_parties_unsettled = true;
        let idle = Slots::idle(&self.settings);
        self.each_of(renaming, |identities, identity| {
            if let Some(at) = identities.get_mut(idle) {
                *at = identity;
            }
        })
    }

    /// Gives those of a renaming their new identity in both slots.
    pub(super) fn rename(&mut self, renaming: &Renaming) -> Result<(), DatapathError> {
        self.each_of(renaming, |identities, identity| *identities = [identity; 2])?;
        self.are_parties_unsettled = false;
        Ok(())
    }

    /// Changes the records of a renaming; one that is not there has nothing to rename.
    fn each_of(&self, renaming: &Renaming, change: impl Fn(&mut [u32; 2], u32)) -> Result<(), DatapathError> {
        let tables = &self.tables;
        for (address, identity) in &renaming.addresses {
            let change = |record: &mut AddressRecord| change(&mut record.identities, identity.0);
            match address {
                IpAddr::V4(address) => tables.addresses_v4.change(&address.octets(), change)?,
                IpAddr::V6(address) => tables.addresses_v6.change(&address.octets(), change)?,
            }
        }
        for (interface, identity) in &renaming.endpoints {
            tables.interfaces.change(interface, |record| change(&mut record.identities, identity.0))?;
        }
        Ok(())
    }

    /// Undoes a renaming that did not come to its end, or one of an earlier process: everybody is who the slot in force says.
    pub(super) fn settle_parties(&mut self) -> Result<(), DatapathError> {
        fn settle<K: Record, V: Record>(
            table: &Table<K, V>,
            slot: usize,
            identities: impl Fn(&mut V) -> &mut [u32; 2],
        ) -> Result<(), DatapathError> {
            for (key, mut record) in table.entries()? {
                let identities = identities(&mut record);
                let now = identities.get(slot).copied().unwrap_or_default();
                if *identities != [now; 2] {
                    *identities = [now; 2];
                    table.set(&key, &record)?;
                }
            }
            Ok(())
        }
        if !self.are_parties_unsettled {
            return Ok(());
        }
        let slot = 1 - Slots::idle(&self.settings);
        settle(&self.tables.addresses_v4, slot, |record| &mut record.identities)?;
        settle(&self.tables.addresses_v6, slot, |record| &mut record.identities)?;
        settle(&self.tables.interfaces, slot, |record| &mut record.identities)?;
        self.are_parties_unsettled = false;
        Ok(())
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
        self.wait_for_readers()?;
        let record = InterfaceRecord {
            identities: [endpoint.identity.0; 2],
            v4: endpoint.v4.map_or([0; 4], |address| address.octets()),
            v6: endpoint.v6.map_or([0; 16], |address| address.octets()),
            ..InterfaceRecord::default()
        };
        self.tables.interfaces.set(&interface, &record)
    }

    /// Forgets an interface: programs that stand there let nothing pass.
    ///
    /// # Errors
    /// The map.
    pub fn remove_endpoint(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.has_forgotten = true;
        self.tables.interfaces.remove(&interface).map(drop)
    }

    /// Whose addresses are, as the kernel has it.
    ///
    /// # Errors
    /// The maps.
    pub fn addresses(&self) -> Result<BTreeMap<IpAddr, Identity>, DatapathError> {
        let v4 = self.tables.addresses_v4.entries()?.into_iter();
        let v6 = self.tables.addresses_v6.entries()?.into_iter();
        let slot = 1 - Slots::idle(&self.settings);
        let identity =
            |record: AddressRecord| Identity(record.identities.get(slot).copied().unwrap_or_default());
        let v4 = v4.map(|(key, record)| (IpAddr::from(key), identity(record)));
        let v6 = v6.map(|(key, record)| (IpAddr::from(key), identity(record)));
        Ok(v4.chain(v6).collect())
    }

    /// Which pods are behind interfaces, as the kernel has it.
    ///
    /// # Errors
    /// The map.
    pub fn endpoints(&self) -> Result<BTreeMap<u32, Endpoint>, DatapathError> {
        let slot = 1 - Slots::idle(&self.settings);
        let endpoint = |record: InterfaceRecord| Endpoint {
            identity: Identity(record.identities.get(slot).copied().unwrap_or_default()),
            v4: Some(Ipv4Addr::from(record.v4)).filter(|address| !address.is_unspecified()),
            v6: Some(Ipv6Addr::from(record.v6)).filter(|address| !address.is_unspecified()),
        };
        let entries = self.tables.interfaces.entries()?.into_iter();
        Ok(entries.map(|(interface, record)| (interface, endpoint(record))).collect())
    }
}
